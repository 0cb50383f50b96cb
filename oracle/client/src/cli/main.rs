//! The command line of Salus.

mod access;
mod anchors;
mod args;
mod audit;
mod consents;
mod dead_letters;
mod devices;
mod emergencies;
mod enrolments;
mod erasures;
mod grants;
mod guardians;
mod jobs;
mod keys;
mod outbox;
mod output;
mod participants;
mod peers;
mod policies;
mod publish;
mod reads;
mod recipients;
mod records;
mod simulate;
mod submissions;
mod terminal;
mod verify;
mod wording;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use clap::Parser as _;
use contract_interface::Status;
use salus::{Client, ClientError, Profile, publish::PublishError};

use crate::{
    args::{
        AccessCommand, AuditCommand, Command, DeviceCommand, DevicesCommand, EmergenciesCommand,
        GrantsCommand, GuardiansCommand, KeysCommand, ParticipantsCommand, PeersCommand,
        PoliciesCommand, ReadsCommand, RecordsCommand, Salus,
    },
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
        // Who reads the output has seen enough, as `head` does.
        Err(error) if is_broken_pipe(&error) => ExitCode::from(EXIT_FAILED),
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
        Command::Keys(KeysCommand::Create(create)) => {
            let profile = args.profile.as_ref().map(|_| profile(args)).transpose()?;
            keys::create(profile.as_ref(), create, out)
        }
        Command::Keys(KeysCommand::Prove(prove)) => keys::prove(&profile(args)?, prove, out),
        Command::Anchors => anchors::list(&profile(args)?, out),
        Command::Keys(KeysCommand::Rotate(rotate)) => {
            keys::rotate(&profile(args)?, rotate, out).await
        }
        Command::Device(DeviceCommand::Publish(publish)) => publish::publish(publish, out).await,
        Command::Device(DeviceCommand::PublishObject(publish)) => {
            publish::publish_object(publish, out).await
        }
        Command::Device(DeviceCommand::Simulate(fleet)) => simulate::simulate(fleet, out).await,
        Command::Device(DeviceCommand::Enrol(enrol)) => enrolments::enrol(enrol, out).await,
        Command::Device(DeviceCommand::Renew(renew)) => enrolments::renew(renew, out).await,
        Command::Records(RecordsCommand::SignRead(sign)) => {
            records::sign_read(&profile(args)?, sign, out)
        }
        Command::Participants(command) => participants(&client(args)?, command, out).await,
        Command::Devices(command) => devices(&client(args)?, command, out).await,
        Command::Records(command) => records(&client(args)?, command, out).await,
        Command::Grants(command) => grants(&client(args)?, command, out).await,
        Command::Policies(command) => policies(&client(args)?, command, out).await,
        Command::Guardians(command) => guardians(&client(args)?, command, out).await,
        Command::Access(command) => access(&client(args)?, command, out).await,
        Command::Emergencies(command) => emergencies(&client(args)?, command, out).await,
        Command::Notices(notices) => emergencies::notices(&client(args)?, notices, out).await,
        Command::Reads(command) => reads(&client(args)?, command, out).await,
        Command::Verify(verify) => {
            let profile = args.profile.as_ref().map(|_| profile(args)).transpose()?;
            verify::verify_record(profile.as_ref(), verify, out).await
        }
        Command::Audit(AuditCommand::Check(check)) => {
            audit::check(&client(args)?, check, out).await
        }
        Command::Jobs(command) => jobs::run(&client(args)?, command, out).await,
        Command::DeadLetters(command) => dead_letters::run(&client(args)?, command, out).await,
        Command::Peers(PeersCommand::Compact(compact)) => peers::compact_data(compact, out),
    }
}

async fn participants(client: &Client, command: &ParticipantsCommand, out: Output) -> Result<()> {
    match command {
        ParticipantsCommand::Add(add) => participants::add(client, add, out).await,
        ParticipantsCommand::List(list) => participants::list(client, list, out).await,
    }
}

async fn devices(client: &Client, command: &DevicesCommand, out: Output) -> Result<()> {
    match command {
        DevicesCommand::Enrol(enrol) => devices::enrol(client, enrol, out).await,
        DevicesCommand::Token(token) => devices::token(client, token, out).await,
        DevicesCommand::Add(add) => devices::add(client, add, out).await,
        DevicesCommand::Bind(bind) => devices::bind(client, bind, out).await,
        DevicesCommand::Unbind(unbind) => devices::unbind(client, unbind, out).await,
        DevicesCommand::Suspend(to) => {
            devices::set_status(client, to, Status::Suspended, out).await
        }
        DevicesCommand::Resume(to) => devices::set_status(client, to, Status::Active, out).await,
        DevicesCommand::Revoke(to) => devices::set_status(client, to, Status::Revoked, out).await,
        DevicesCommand::Show { device } => devices::show(client, device, out).await,
        DevicesCommand::List => devices::list(client, out).await,
    }
}

async fn records(client: &Client, command: &RecordsCommand, out: Output) -> Result<()> {
    match command {
        RecordsCommand::List(list) => records::list(client, list, out).await,
        RecordsCommand::Read(read) => records::read(client, read, out).await,
        RecordsCommand::SignRead(_) => Ok(()),
        RecordsCommand::Explain(explain) => records::explain(client, explain, out).await,
        RecordsCommand::Submit(submit) => submissions::submit(client, submit, out).await,
        RecordsCommand::Amend(amend) => submissions::amend(client, amend, out).await,
        RecordsCommand::Versions(versions) => erasures::versions(client, versions, out).await,
        RecordsCommand::Erase(erase) => erasures::erase(client, erase, out).await,
        RecordsCommand::Prove(prove) => verify::prove(client, prove, out).await,
    }
}

async fn grants(client: &Client, command: &GrantsCommand, out: Output) -> Result<()> {
    match command {
        GrantsCommand::Give(give) => grants::give(client, give, out).await,
        GrantsCommand::Show(show) => grants::show(client, show, out).await,
        GrantsCommand::Revoke(revoke) => grants::revoke(client, revoke, out).await,
        GrantsCommand::List(list) => grants::list(client, list, out).await,
        GrantsCommand::Share(share) => grants::share(client, share, out).await,
        GrantsCommand::ImportConsent(import) => consents::import(client, import, out).await,
        GrantsCommand::ExportConsent(export) => consents::export(client, export, out).await,
    }
}

async fn policies(client: &Client, command: &PoliciesCommand, out: Output) -> Result<()> {
    match command {
        PoliciesCommand::Set(set) => policies::set(client, set, out).await,
        PoliciesCommand::Withdraw(withdraw) => policies::withdraw(client, withdraw, out).await,
        PoliciesCommand::List(list) => policies::list(client, list, out).await,
    }
}

async fn guardians(client: &Client, command: &GuardiansCommand, out: Output) -> Result<()> {
    match command {
        GuardiansCommand::Add(add) => guardians::add(client, add, out).await,
        GuardiansCommand::List(list) => guardians::list(client, list, out).await,
        GuardiansCommand::Remove(remove) => guardians::remove(client, remove, out).await,
        GuardiansCommand::Share(share) => guardians::share(client, share, out).await,
    }
}

async fn access(client: &Client, command: &AccessCommand, out: Output) -> Result<()> {
    match command {
        AccessCommand::Ask(ask) => access::ask(client, ask, out).await,
        AccessCommand::List(list) => access::list(client, list, out).await,
        AccessCommand::Refuse(refuse) => access::refuse(client, refuse, out).await,
    }
}

async fn emergencies(client: &Client, command: &EmergenciesCommand, out: Output) -> Result<()> {
    match command {
        EmergenciesCommand::Declare(declare) => emergencies::declare(client, declare, out).await,
        EmergenciesCommand::List(list) => emergencies::list(client, list, out).await,
        EmergenciesCommand::Review(review) => emergencies::review(client, review, out).await,
    }
}

async fn reads(client: &Client, command: &ReadsCommand, out: Output) -> Result<()> {
    match command {
        ReadsCommand::List(list) => reads::list(client, list, out).await,
        ReadsCommand::Show(show) => reads::show(client, show, out).await,
        ReadsCommand::Export(export) => reads::export(client, export, out).await,
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

fn is_broken_pipe(error: &anyhow::Error) -> bool {
    let io = error.downcast_ref::<std::io::Error>();
    io.is_some_and(|error| error.kind() == std::io::ErrorKind::BrokenPipe)
}

fn exit_code(error: &anyhow::Error) -> u8 {
    if error.is::<outbox::RefusedAndKept>() {
        return EXIT_REFUSED;
    }
    if error.is::<erasures::Unfinished>() || error.is::<jobs::NotDone>() {
        return EXIT_UNREACHABLE;
    }
    if error.is::<verify::NotVerified>() || error.is::<audit::Incomplete>() {
        return EXIT_NOT_OPENED;
    }
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
        (
            Some(
                ClientError::Integrity { .. } | ClientError::Key { .. } | ClientError::Untrusted(_),
            ),
            _,
        ) => EXIT_NOT_OPENED,
        _ => EXIT_FAILED,
    }
}
