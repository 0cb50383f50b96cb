//! Assets that have an owner: the smallest chaincode that does something real.
//!
//! Run it as chaincode as a service, with the package ID that `peer lifecycle chaincode install`
//! printed:
//!
//! ```text
//! CHAINCODE_SERVER_ADDRESS=127.0.0.1:9999 CORE_CHAINCODE_ID_NAME=assets:0123… \
//!     cargo run -p fabric-shim --example asset_transfer
//! ```

use std::io::Write as _;

use fabric_shim::{
    Chaincode, ContractError, ContractType, Server, ServerConfig, Stub, contract,
    create_composite_key,
};
use serde::{Deserialize, Serialize};

/// Something that belongs to somebody.
#[derive(Debug, Serialize, Deserialize, ContractType)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
struct Asset {
    id: String,
    #[contract_type(minimum = 1)]
    size: u32,
    colour: Option<Colour>,
    owner: String,
}

#[derive(Debug, Serialize, Deserialize, ContractType)]
#[serde(rename_all = "lowercase")]
enum Colour {
    Red,
    Green,
    Blue,
}

/// Keeps assets under the composite key `("asset", [id])`.
struct Assets;

#[contract(name = "assets")]
impl Assets {
    /// The caller becomes the owner.
    #[transaction(submit)]
    async fn create_asset(
        &self,
        ctx: &Stub,
        id: String,
        size: u32,
        colour: Option<Colour>,
    ) -> Result<Asset, ContractError> {
        if read(ctx, &id).await?.is_some() {
            return Err(ContractError::conflict(format!("asset {id} exists")));
        }
        let owner = ctx.client_identity()?.id();
        let asset = Asset {
            id,
            size,
            colour,
            owner,
        };
        write(ctx, &asset).await?;
        ctx.set_event("AssetCreated", asset.id.as_bytes())?;
        Ok(asset)
    }

    #[transaction(evaluate)]
    async fn read_asset(&self, ctx: &Stub, id: String) -> Result<Asset, ContractError> {
        existing(ctx, &id).await
    }

    /// Only the owner may give an asset away.
    #[transaction(submit)]
    async fn transfer_asset(
        &self,
        ctx: &Stub,
        id: String,
        owner: String,
    ) -> Result<(), ContractError> {
        let asset = existing(ctx, &id).await?;
        if asset.owner != ctx.client_identity()?.id() {
            return Err(ContractError::forbidden("only the owner may do this"));
        }
        write(ctx, &Asset { owner, ..asset }).await
    }

    #[transaction(evaluate)]
    async fn list_assets(&self, ctx: &Stub) -> Result<Vec<Asset>, ContractError> {
        let mut assets = vec![];
        let mut found = ctx.get_state_by_partial_composite_key("asset", &[]).await?;
        while let Some(entry) = found.next().await? {
            assets.push(decode(&entry.value)?);
        }
        Ok(assets)
    }
}

async fn read(ctx: &Stub, id: &str) -> Result<Option<Asset>, ContractError> {
    let bytes = ctx
        .get_state(&create_composite_key("asset", &[id])?)
        .await?;
    bytes.map(|bytes| decode(&bytes)).transpose()
}

async fn existing(ctx: &Stub, id: &str) -> Result<Asset, ContractError> {
    let asset = read(ctx, id).await?;
    asset.ok_or_else(|| ContractError::not_found(format!("asset {id} does not exist")))
}

async fn write(ctx: &Stub, asset: &Asset) -> Result<(), ContractError> {
    let bytes = serde_json::to_vec(asset).map_err(|e| ContractError::internal(e.to_string()))?;
    let key = create_composite_key("asset", &[&asset.id])?;
    Ok(ctx.put_state(&key, bytes).await?)
}

fn decode(bytes: &[u8]) -> Result<Asset, ContractError> {
    serde_json::from_slice(bytes).map_err(|e| ContractError::internal(e.to_string()))
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .init();
    let config = ServerConfig::from_env(|name| std::env::var(name).ok())?;
    let server = Server::bind(config, Chaincode::new().with(Assets)).await?;
    writeln!(std::io::stdout(), "listening on {}", server.local_addr())?;
    server
        .serve(async {
            // Without a signal handler the process ends the hard way, which peers survive too.
            let _ = tokio::signal::ctrl_c().await;
        })
        .await?;
    Ok(())
}
