//! A real PostgreSQL server with TLS, on a free port, that goes when the process that started it goes.

use std::fs;
use std::net::{IpAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use keyrealm_base::SystemClock;
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_pki::{LeafSpec, LeafUsage};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection};

use crate::tls::test_ca;

/// Names the folder of a server that is running already: then no test starts its own.
pub const SERVER_VARIABLE: &str = "KEYREALM_TEST_POSTGRES";

/// Names the folder of `initdb` and `postgres` of a server that is not the installed one.
pub const PROGRAMS_VARIABLE: &str = "KEYREALM_POSTGRES_PROGRAMS";

/// The account that the server runs as where the tests run as root, who may not run it.
const ACCOUNT: &str = "postgres";
const START: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PostgresServer {
    /// Its folder, with `ca.pem`.
    pub folder: PathBuf,
    /// Its address; the certificate names it.
    pub host: IpAddr,
    /// Its port.
    pub port: u16,
    /// The password of the superuser `postgres`.
    pub password: String,
    /// The folder of its programs.
    pub programs: PathBuf,
}

impl PostgresServer {
    /// The server of [`SERVER_VARIABLE`], or one that this process starts and takes with it.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        SERVER.get_or_init(|| match std::env::var_os(SERVER_VARIABLE) {
            Some(folder) => Self::at(Path::new(&folder)).expect("KEYREALM_TEST_POSTGRES names a server"),
            None => Self::start().unwrap_or_else(|error| panic!("{error}")),
        })
    }

    /// The server of a folder.
    ///
    /// # Errors
    /// When there is none.
    pub fn at(folder: &Path) -> Result<Self, String> {
        let file = folder.join("server.json");
        let text = fs::read(&file).map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        serde_json::from_slice(&text).map_err(|error| format!("{}: {error}", file.display()))
    }

    /// Whether there is a PostgreSQL that could be started.
    #[must_use]
    pub fn is_installed() -> bool {
        programs().is_ok()
    }

    /// Starts a server on loopback. It ends with this process, however that ends.
    ///
    /// # Errors
    /// Where there is no PostgreSQL, with the line that installs it, or with what the server said.
    pub fn start() -> Result<Self, String> {
        Self::start_with(&[])
    }

    /// As [`PostgresServer::start`], with the programs of this folder.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_from(programs: PathBuf) -> Result<Self, String> {
        Self::start_one(programs, &[])
    }

    /// As [`PostgresServer::start`], with these settings over its own.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with(settings: &[&str]) -> Result<Self, String> {
        Self::start_one(programs()?, settings)
    }

    fn start_one(programs: PathBuf, settings: &[&str]) -> Result<Self, String> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        sweep();
        let name = format!("{PREFIX}{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let host = IpAddr::from([127, 0, 0, 1]);
        let port = TcpListener::bind((host, 0))
            .and_then(|socket| socket.local_addr())
            .map_err(|error| format!("PostgreSQL: a port: {error}"))?
            .port();
        let (server, mut command) = Self::make(programs, &folder, (host, port), Lifetime::OfThisProcess)?;
        // The second address is in no certificate.
        for setting in ["listen_addresses=127.0.0.1,127.0.0.2"].iter().chain(settings) {
            command.arg("-c").arg(setting);
        }
        let mut child = server.spawn(command).map_err(|error| format!("PostgreSQL: the server: {error}"))?;
        server.wait(&mut child)?;
        Ok(server)
    }

    /// Makes the folder of a server that listens there, and the command that runs it.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn prepare(folder: &Path, host: IpAddr, port: u16, lifetime: Lifetime) -> Result<(Self, Command), String> {
        Self::make(programs()?, folder, (host, port), lifetime)
    }

    fn make(
        programs: PathBuf,
        folder: &Path,
        (host, port): (IpAddr, u16),
        lifetime: Lifetime,
    ) -> Result<(Self, Command), String> {
        let failed = |what: &'static str| move |error: std::io::Error| format!("PostgreSQL: {what}: {error}");
        fs::create_dir(folder).map_err(failed("its folder"))?;
        let password =
            SecretBytes::random(16, &SystemRandom).expose().iter().map(|byte| format!("{byte:02x}")).collect();
        write_certificates(folder, host).map_err(failed("its certificates"))?;
        fs::write(folder.join("password"), &password).map_err(failed("its password"))?;
        own(folder).map_err(failed("its owner"))?;
        let data = folder.join("data");
        let mut initdb = account(&programs.join("initdb"), Lifetime::OfThisProcess);
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(folder.join("password"));
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.output().map_err(failed("initdb"))?;
        if !made.status.success() {
            return Err(format!("PostgreSQL: initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        // Over TLS or not at all. Who else could come is kept out by where it listens.
        fs::write(data.join("pg_hba.conf"), "hostssl all all all scram-sha-256\n").map_err(failed("pg_hba.conf"))?;
        let server = Self { folder: folder.to_owned(), host, port, password, programs };
        let description = serde_json::to_vec(&server).map_err(|error| error.to_string())?;
        fs::write(folder.join("server.json"), description).map_err(failed("server.json"))?;
        let command = server.command(lifetime);
        Ok((server, command))
    }

    fn command(&self, lifetime: Lifetime) -> Command {
        let mut command = account(&self.programs.join("postgres"), lifetime);
        command.arg("-D").arg(self.folder.join("data")).arg("-p").arg(self.port.to_string());
        let folder = self.folder.display();
        for setting in [
            format!("listen_addresses={}", self.host),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={folder}/cert.pem"),
            format!("ssl_key_file={folder}/key.pem"),
            "ssl_min_protocol_version=TLSv1.3".to_owned(),
            "max_connections=400".to_owned(),
            // The tests end processes of ours, never this one's machine.
            "fsync=off".to_owned(),
            "full_page_writes=off".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        command
    }

    /// Ends it at once, as a machine that fails does; connections are cut. Who started it may start it again.
    pub fn stop(&self) {
        let pid = fs::read_to_string(self.folder.join("data/postmaster.pid")).unwrap_or_default();
        if let Some(pid) = pid.lines().next() {
            let _ = Command::new("kill").args(["-QUIT", pid]).status();
            let began = Instant::now();
            while self.folder.join("data/postmaster.pid").exists() && began.elapsed() < START {
                std::thread::sleep(Duration::from_millis(20));
            }
        }
    }

    /// After [`PostgresServer::stop`]: the same server with the same data. It ends with this process.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_again(&self) -> Result<(), String> {
        let command = self.command(Lifetime::OfThisProcess);
        let mut child = self.spawn(command).map_err(|error| format!("PostgreSQL: the server: {error}"))?;
        self.wait(&mut child)
    }

    /// The signal of a parent's death comes when the *thread* ends that started the child: hence a thread that never does.
    fn spawn(&self, mut command: Command) -> std::io::Result<Child> {
        let log = fs::File::create(self.folder.join("log"))?;
        command.stdin(Stdio::null()).stdout(log.try_clone()?).stderr(log);
        let (sender, receiver) = std::sync::mpsc::channel();
        std::thread::spawn(move || {
            let _ = sender.send(command.spawn());
            loop {
                std::thread::park();
            }
        });
        receiver.recv().map_err(std::io::Error::other)?
    }

    fn wait(&self, child: &mut Child) -> Result<(), String> {
        let began = Instant::now();
        let log = || fs::read_to_string(self.folder.join("log")).unwrap_or_default();
        while !log().contains("ready to accept connections") {
            if let Ok(Some(status)) = child.try_wait() {
                return Err(format!("PostgreSQL ended with {status}: {}", log()));
            }
            if began.elapsed() > START {
                return Err(format!("PostgreSQL does not start: {}", log()));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        Ok(())
    }

    /// What its program says of itself.
    ///
    /// # Errors
    /// When it cannot be run.
    pub fn version(&self) -> Result<String, String> {
        let mut command = account(&self.programs.join("postgres"), Lifetime::Own);
        let said = command.arg("--version").output().map_err(|error| format!("PostgreSQL: {error}"))?;
        Ok(String::from_utf8_lossy(&said.stdout).trim().to_owned())
    }

    /// The CA bundle of its certificate.
    #[must_use]
    pub fn ca(&self) -> PathBuf {
        self.folder.join("ca.pem")
    }

    /// Runs statements as the superuser.
    pub async fn run(&self, database: &str, statements: &str) {
        let mut connection = self.connect(database, "postgres", &self.password).await;
        sqlx::raw_sql(AssertSqlSafe(statements.to_owned())).execute(&mut connection).await.unwrap();
        connection.close().await.unwrap();
    }

    /// A connection of its own, over TLS.
    pub async fn connect(&self, database: &str, user: &str, password: &str) -> PgConnection {
        let options = PgConnectOptions::new_without_pgpass()
            .host(&self.host.to_string())
            .port(self.port)
            .database(database)
            .username(user)
            .password(password)
            .ssl_mode(PgSslMode::VerifyFull)
            .ssl_root_cert(self.ca());
        PgConnection::connect_with(&options).await.unwrap()
    }
}

const PREFIX: &str = "keyrealm-server-";

/// Takes out the folders of servers whose processes have gone.
fn sweep() {
    let Ok(entries) = fs::read_dir(std::env::temp_dir()) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name();
        let Some(pid) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next()) else { continue };
        if !Path::new("/proc").join(pid).exists() {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
}

/// Where `initdb` and `postgres` are: where [`PROGRAMS_VARIABLE`] says, or Debian puts them, or on PATH.
fn programs() -> Result<PathBuf, String> {
    let is_one = |folder: &PathBuf| folder.join("initdb").is_file() && folder.join("postgres").is_file();
    if let Some(folder) = std::env::var_os(PROGRAMS_VARIABLE).map(PathBuf::from) {
        let text = folder.display().to_string();
        return Some(folder).filter(is_one).ok_or_else(|| {
            format!("{PROGRAMS_VARIABLE}: no initdb and postgres in {text}; name the folder of a server's programs")
        });
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    // The newest first.
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&path));
    folders
        .into_iter()
        .find(is_one)
        .ok_or_else(|| "PostgreSQL is not installed; install with: apt-get install --yes postgresql".to_owned())
}

/// How long a server runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lifetime {
    /// As long as the process that starts it, however that ends.
    OfThisProcess,
    /// Until somebody ends it.
    Own,
}

/// The program under an account that may run it.
fn account(program: &Path, lifetime: Lifetime) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args([&format!("--reuid={ACCOUNT}"), &format!("--regid={ACCOUNT}"), "--init-groups"]);
    }
    if lifetime == Lifetime::OfThisProcess {
        // SIGQUIT: the server ends at once and takes its own processes with it.
        command.args(["--pdeathsig", "QUIT"]);
    }
    command.arg("--").arg(program).env_remove("LC_ALL").env("LANG", "C").current_dir("/");
    command
}

fn is_root() -> bool {
    fs::metadata("/proc/self").is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0)
}

/// Gives the folder to the account.
fn own(folder: &Path) -> std::io::Result<()> {
    fs::set_permissions(folder.join("key.pem"), fs::Permissions::from_mode(0o600))?;
    fs::set_permissions(folder, fs::Permissions::from_mode(0o755))?;
    if is_root() {
        let status = Command::new("chown").arg("-R").arg(format!("{ACCOUNT}:{ACCOUNT}")).arg(folder).status()?;
        if !status.success() {
            return Err(std::io::Error::other("chown"));
        }
    }
    Ok(())
}

fn write_certificates(folder: &Path, host: IpAddr) -> std::io::Result<()> {
    let ca = test_ca("database.keyrealm.local").map_err(std::io::Error::other)?;
    let mut leaf = LeafSpec::new("database.keyrealm.local", LeafUsage::Server).and_loopback();
    if !leaf.ips.contains(&host) {
        leaf.ips.push(host);
    }
    let leaf = ca.issue_leaf(&leaf, &SystemClock, &SystemRandom).map_err(std::io::Error::other)?;
    fs::write(folder.join("ca.pem"), ca.trust_bundle_pem())?;
    fs::write(folder.join("cert.pem"), leaf.chain_pem)?;
    fs::write(folder.join("key.pem"), leaf.key_pem.as_bytes())
}
