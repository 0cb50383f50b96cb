//! The command line of Salus.

mod args;
mod devices;
mod grants;
mod keys;
mod output;
mod participants;
mod publish;
mod reads;
mod records;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use salus::{Client, ClientError, Profile, publish::PublishError};

use crate::{
    args::{Command, DeviceCommand, DevicesCommand, GrantsCommand, KeysCommand},
    args::{ParticipantsCommand, ReadsCommand, RecordsCommand, Salus},
    output::Output,
};

/// Something went wrong on this machine.
const EXIT_FAILED: u8 = 1;
/// The oracle or the broker refused: what is missing is in the message.
const EXIT_REFUSED: u8 = 3;
/// The oracle or the broker cannot be reached, or did not answer in time; trying later may help.
const EXIT_UNREACHABLE: u8 = 4;
/// What was received is not what the ledger registered, or cannot be opened with this key.
const EXIT_NOT_OPENED: u8 = 5;

fn main() -> ExitCode {
    let args = Salus::parse();
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_env("SALUS_LOG")
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("error")),
        )
        .with_writer(std::io::stderr)
        .init();
    match run(&args) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&error);
            ExitCode::from(exit_code(&error))
        }
    }
}

#[tokio::main(flavor = "current_thread")]
async fn run(args: &Salus) -> Result<()> {
    let out = Output::new(args.json);
    match &args.command {
        Command::Keys(KeysCommand::Create(create)) => keys::create(create, out),
        Command::Device(DeviceCommand::Publish(publish)) => publish::publish(publish, out).await,
        Command::Participants(command) => {
            let client = client(args)?;
            match command {
                ParticipantsCommand::Add(add) => participants::add(&client, add, out).await,
                ParticipantsCommand::List(list) => participants::list(&client, list, out).await,
            }
        }
        Command::Devices(command) => {
            let client = client(args)?;
            match command {
                DevicesCommand::Add(add) => devices::add(&client, add, out).await,
                DevicesCommand::List => devices::list(&client, out).await,
            }
        }
        Command::Records(command) => {
            let client = client(args)?;
            match command {
                RecordsCommand::List(list) => records::list(&client, list, out).await,
                RecordsCommand::Read(read) => records::read(&client, read, out).await,
                RecordsCommand::SignRead(sign) => records::sign_read(&profile(args)?, sign, out),
            }
        }
        Command::Grants(command) => {
            let client = client(args)?;
            match command {
                GrantsCommand::Give(give) => grants::give(&client, give, out).await,
                GrantsCommand::Revoke(revoke) => grants::revoke(&client, revoke, out).await,
                GrantsCommand::List(list) => grants::list(&client, list, out).await,
            }
        }
        Command::Reads(ReadsCommand::List(list)) => reads::list(&client(args)?, list, out).await,
    }
}

fn profile(args: &Salus) -> Result<Profile> {
    let path = args.profile.as_deref().context(
        "no profile: name one with --profile FILE or in SALUS_PROFILE (it says who you are and \
         which oracle you ask; your administrator has written one for you)",
    )?;
    Profile::load(path).map_err(|error| ClientError::from(error).into())
}

fn client(args: &Salus) -> Result<Client> {
    Ok(Client::new(&profile(args)?)?)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    match (
        error.downcast_ref::<ClientError>(),
        error.downcast_ref::<PublishError>(),
    ) {
        (Some(ClientError::Refused(_)), _) | (_, Some(PublishError::Refused { .. })) => {
            EXIT_REFUSED
        }
        (Some(ClientError::Unreachable { .. }), _)
        | (_, Some(PublishError::Connection { .. } | PublishError::TimedOut { .. })) => {
            EXIT_UNREACHABLE
        }
        (Some(ClientError::Integrity { .. } | ClientError::Key { .. }), _) => EXIT_NOT_OPENED,
        _ => EXIT_FAILED,
    }
}
