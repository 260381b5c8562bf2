//! A real PostgreSQL server with TLS, on a free port, that goes when the process that started it goes.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use keyrealm_base::SystemClock;
use keyrealm_crypto::{SecretBytes, SystemRandom};
use keyrealm_pki::{CaChain, ChainSpec, LeafSpec, LeafUsage, NameStyle};
use serde::{Deserialize, Serialize};
use sqlx::postgres::{PgConnectOptions, PgConnection, PgSslMode};
use sqlx::{AssertSqlSafe, Connection};

/// Names the folder of a server that is running already: then no test starts its own.
pub const SERVER_VARIABLE: &str = "KEYREALM_TEST_POSTGRES";

/// The account that the server runs as where the tests run as root, who may not run it.
const ACCOUNT: &str = "postgres";
const START: Duration = Duration::from_secs(60);

/// A running server.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PostgresServer {
    /// Its folder, with `ca.pem`.
    pub folder: PathBuf,
    /// Its port on 127.0.0.1.
    pub port: u16,
    /// The password of the superuser `postgres`.
    pub password: String,
}

impl PostgresServer {
    /// The server of [`SERVER_VARIABLE`], or one that this process starts and takes with it.
    pub fn shared() -> &'static Self {
        static SERVER: OnceLock<PostgresServer> = OnceLock::new();
        SERVER.get_or_init(|| match std::env::var_os(SERVER_VARIABLE) {
            Some(folder) => {
                let text =
                    fs::read(Path::new(&folder).join("server.json")).expect("KEYREALM_TEST_POSTGRES names a server");
                serde_json::from_slice(&text).unwrap()
            }
            None => Self::start().unwrap_or_else(|error| panic!("{error}")),
        })
    }

    /// Whether there is a PostgreSQL that could be started.
    #[must_use]
    pub fn is_installed() -> bool {
        programs().is_ok()
    }

    /// Starts a server. It ends with this process, however that ends.
    ///
    /// # Errors
    /// Where there is no PostgreSQL, with the line that installs it, or with what the server said.
    pub fn start() -> Result<Self, String> {
        Self::start_with(&["ssl_min_protocol_version=TLSv1.3"])
    }

    /// As [`PostgresServer::start`], with these settings beside those that it needs.
    ///
    /// # Errors
    /// As [`PostgresServer::start`].
    pub fn start_with(settings: &[&str]) -> Result<Self, String> {
        static STARTED: AtomicU32 = AtomicU32::new(0);
        let programs = programs()?;
        sweep();
        let name = format!("{PREFIX}{}-{}", std::process::id(), STARTED.fetch_add(1, Ordering::Relaxed));
        let folder = std::env::temp_dir().join(name);
        let failed = |what: &'static str| move |error: std::io::Error| format!("PostgreSQL: {what}: {error}");
        fs::create_dir(&folder).map_err(failed("its folder"))?;
        let password =
            SecretBytes::random(16, &SystemRandom).expose().iter().map(|byte| format!("{byte:02x}")).collect();
        write_certificates(&folder).map_err(failed("its certificates"))?;
        fs::write(folder.join("password"), &password).map_err(failed("its password"))?;
        own(&folder).map_err(failed("its owner"))?;
        let data = folder.join("data");
        let mut initdb = account(&programs.join("initdb"));
        initdb.arg("--pgdata").arg(&data).arg("--pwfile").arg(folder.join("password"));
        initdb.args(["--username=postgres", "--auth=scram-sha-256", "--encoding=UTF8", "--locale=C", "--no-sync"]);
        let made = initdb.output().map_err(failed("initdb"))?;
        if !made.status.success() {
            return Err(format!("PostgreSQL: initdb: {}", String::from_utf8_lossy(&made.stderr)));
        }
        // Over TLS or not at all.
        fs::write(data.join("pg_hba.conf"), "hostssl all all 127.0.0.0/8 scram-sha-256\n")
            .map_err(failed("pg_hba.conf"))?;
        let port =
            TcpListener::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).map_err(failed("a port"))?.port();
        let server = Self { folder, port, password };
        let description = serde_json::to_vec(&server).map_err(|error| error.to_string())?;
        fs::write(server.folder.join("server.json"), description).map_err(failed("server.json"))?;
        let mut child = server.spawn(&programs, settings).map_err(failed("the server"))?;
        server.wait(&mut child)?;
        Ok(server)
    }

    /// The signal of a parent's death comes when the *thread* ends that started the child: hence a thread that never does.
    fn spawn(&self, programs: &Path, settings: &[&str]) -> std::io::Result<Child> {
        let mut command = account(&programs.join("postgres"));
        command.arg("-D").arg(self.folder.join("data")).arg("-p").arg(self.port.to_string());
        let folder = self.folder.display();
        for setting in [
            // The second one is in no certificate.
            "listen_addresses=127.0.0.1,127.0.0.2".to_owned(),
            "unix_socket_directories=".to_owned(),
            "ssl=on".to_owned(),
            format!("ssl_cert_file={folder}/cert.pem"),
            format!("ssl_key_file={folder}/key.pem"),
            "max_connections=400".to_owned(),
            // The tests end processes of ours, never this one's machine.
            "fsync=off".to_owned(),
            "full_page_writes=off".to_owned(),
        ] {
            command.arg("-c").arg(setting);
        }
        for setting in settings {
            command.arg("-c").arg(setting);
        }
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
            .host("127.0.0.1")
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

/// Where `initdb` and `postgres` are: on PATH, or where Debian puts them.
fn programs() -> Result<PathBuf, String> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<PathBuf> = fs::read_dir("/usr/lib/postgresql")
        .map(|versions| versions.flatten().map(|version| version.path().join("bin")).collect())
        .unwrap_or_default();
    // The newest first.
    folders.sort();
    folders.reverse();
    folders.extend(std::env::split_paths(&path));
    let found = folders.into_iter().find(|folder| folder.join("initdb").is_file() && folder.join("postgres").is_file());
    found.ok_or_else(|| "PostgreSQL is not installed; install with: apt-get install --yes postgresql".to_owned())
}

/// The program under an account that may run it, ended with whoever started it.
fn account(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    if is_root() {
        command.args([&format!("--reuid={ACCOUNT}"), &format!("--regid={ACCOUNT}"), "--init-groups"]);
    }
    // SIGQUIT: the server ends at once and takes its own processes with it.
    command.args(["--pdeathsig", "QUIT", "--"]).arg(program).env_remove("LC_ALL").env("LANG", "C").current_dir("/");
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

fn write_certificates(folder: &Path) -> std::io::Result<()> {
    let spec = ChainSpec::new(NameStyle::Fqdn { prefix: "database.keyrealm.local".into() });
    let ca = CaChain::generate(&spec, &SystemClock, &SystemRandom).map_err(std::io::Error::other)?;
    let leaf = LeafSpec::new("database.keyrealm.local", LeafUsage::Server).and_loopback();
    let leaf = ca.issue_leaf(&leaf, &SystemClock, &SystemRandom).map_err(std::io::Error::other)?;
    fs::write(folder.join("ca.pem"), ca.trust_bundle_pem())?;
    fs::write(folder.join("cert.pem"), leaf.chain_pem)?;
    fs::write(folder.join("key.pem"), leaf.key_pem.as_bytes())
}
