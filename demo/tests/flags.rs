//! Every flag has an effect.
#![allow(clippy::unwrap_used, clippy::panic, clippy::indexing_slicing, reason = "helpers of tests fail the test")]

mod support;

use std::fs::File;
use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::process::{Output, Stdio};
use std::thread;

use demo::steps_of;
use identity::seed::DemoCredentials;
use keyrealm_testkit::TestTls;
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use serde_json::Value;

use self::support::{Servers, demo, document, failed, run, text};

/// In front of a server: drops the first two connections, then carries what comes.
fn fails_twice(server: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    thread::spawn(move || {
        for client in listener.incoming().skip(2) {
            let (client, server) = (client.unwrap(), TcpStream::connect(("127.0.0.1", server)).unwrap());
            for (mut from, mut to) in [
                (client.try_clone().unwrap(), server.try_clone().unwrap()),
                (server.try_clone().unwrap(), client.try_clone().unwrap()),
            ] {
                thread::spawn(move || {
                    let _ = std::io::copy(&mut from, &mut to);
                    let _ = to.shutdown(std::net::Shutdown::Write);
                });
            }
        }
    });
    port
}

/// A server that fails twice is not noticed with three retries, and is with one.
#[test]
fn what_fails_twice_passes_with_retries() {
    let servers = Servers::start();
    let [_, kms] = servers.admin();
    let attach = |retry: &str| {
        let flags = ["--json", "--health-timeout", "0", "--retry", retry, "--retry-delay", "10ms"];
        document(&servers.attach("kms", fails_twice(kms), &flags))
    };
    let patient = attach("3");
    assert_eq!(patient["success"], true, "{patient:#}");
    let hasty = attach("1");
    assert_eq!(failed(&hasty), ["servers.health"], "{hasty:#}");
}

/// A run against servers of which none listens.
fn dead(flags: &[&str]) -> Output {
    let tls = TestTls::new();
    let credentials = serde_json::to_string(&DemoCredentials::documented()).unwrap();
    let credentials = tls.private_file("credentials.json", credentials.as_bytes());
    let port = || keyrealm_testkit::free_port();
    let mut command = demo(&["kms", "--target", "urls"]);
    for flag in ["--kms-url", "--identity-url", "--kms-admin-url", "--identity-admin-url"] {
        command.arg(flag).arg(format!("https://localhost:{}", port()));
    }
    command.arg("--ca").arg(tls.path("ca.pem")).arg("--credentials").arg(credentials);
    command.args(flags).output().unwrap()
}

#[test]
fn waits_are_as_long_as_the_flags_say() {
    let took = |flags: &[&str]| {
        let output = dead(&[&["--json", "--fail-fast"], flags].concat());
        assert_eq!(output.status.code(), Some(2));
        let document = document(&output);
        assert_eq!(failed(&document), ["servers.health"]);
        document["duration_ms"].as_u64().unwrap()
    };
    let at_once = took(&["--health-timeout", "0s", "--retry", "0"]);
    assert!(at_once < 1000, "{at_once}");
    // Not whole seconds: the last poll comes when the time is up.
    let health = took(&["--health-timeout", "1300ms", "--retry", "0"]);
    assert!((1300..1900).contains(&health), "{health}");
    let fixed = took(&["--health-timeout", "0", "--retry", "2", "--retry-delay", "400ms"]);
    assert!((800..1150).contains(&fixed), "{fixed}");
    let flags = ["--health-timeout", "0", "--retry", "2", "--retry-delay", "400ms", "--retry-backoff", "exponential"];
    let exponential = took(&flags);
    assert!((1200..1900).contains(&exponential), "{exponential}");
}

#[test]
fn a_refused_connection_has_its_causes_in_every_format() {
    let flags = ["--health-timeout", "0", "--retry", "0"];
    let with = |more: &[&str]| dead(&[&flags[..], more].concat());
    let total = steps_of(demo::Command::Kms).count();
    let document = document(&with(&["--json", "--continue-on-error"]));
    assert_eq!((&document["failed_steps"], &document["skipped_steps"]), (&total.into(), &0.into()));
    let causes = |error: &Value| {
        assert!(error["message"] == "identity is not ready in time" && error["phase"] == "integration", "{error}");
        let first = &error["cause"];
        assert!(first["message"].as_str().unwrap().starts_with("no answer to GET https://localhost:"), "{error}");
        let mut inner = &first["cause"];
        assert!(inner["message"].is_string(), "{error}");
        while !inner["cause"].is_null() {
            inner = &inner["cause"];
        }
        assert!(inner["message"].as_str().unwrap().contains("Connection refused"), "{error}");
        assert!(error["details"][0].as_str().unwrap().ends_with("-> no answer"), "{error}");
    };
    causes(&document["errors"][0]);
    let out = text(&with(&["--output", "structured", "--fail-fast"]).stdout);
    let lines: Vec<Value> = out.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    causes(&lines[1]["attributes"]["error"]);
    assert_eq!(lines[1]["severity"], "ERROR");
    let out = text(&with(&["--fail-fast", "--quiet"]).stdout);
    assert!(out.contains("because: no answer to GET") && out.contains("because: Connection refused"), "{out}");
    assert!(out.contains(&format!("[FAILURE] 0 of {total} steps passed, 1 failed, {} skipped", total - 1)), "{out}");
    assert_eq!(run(&["kms", "--fail-fast", "--continue-on-error"]).status.code(), Some(2));
}

/// One of the two outputs goes to a terminal, the other one to a pipe: what the terminal and the pipe got.
fn on_terminal(errors: bool, args: &[&str], environment: &[(&str, &str)]) -> (String, String) {
    let mut terminal = File::from(openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap());
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let name = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let end = File::options().read(true).write(true).open(name).unwrap();
    tcsetwinsize(&end, Winsize { ws_row: 40, ws_col: 200, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
    let mut command = demo(args);
    command.env("TERM", "xterm-256color").envs(environment.iter().copied());
    if errors {
        command.stdout(Stdio::piped()).stderr(end);
    } else {
        command.stdout(end).stderr(Stdio::piped());
    }
    let child = command.spawn().unwrap();
    // It holds the terminal's other end.
    drop(command);
    let reader = thread::spawn(move || {
        let (mut all, mut part) = (Vec::new(), [0; 4096]);
        // Linux ends a terminal that nobody has open with an error.
        while let Ok(length) = terminal.read(&mut part) {
            all.extend_from_slice(&part[..length]);
        }
        String::from_utf8(all).unwrap()
    });
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    (reader.join().unwrap(), text(if errors { &output.stdout } else { &output.stderr }))
}

/// Spinner and counter are for people who look: on standard error, where that is a terminal.
#[test]
fn the_counter_is_shown_on_a_terminal_alone() {
    let last = format!("[{0}/{0}] ", steps_of(demo::Command::Kms).count());
    let (terminal, pipe) = on_terminal(true, &["kms", "--json"], &[]);
    assert!(terminal.contains("[1/16] ") && terminal.contains(&last) && terminal.contains('\x1b'), "{terminal}");
    assert!(serde_json::from_str::<Value>(&pipe).is_ok(), "{pipe}");
    let (terminal, pipe) = on_terminal(true, &["kms"], &[]);
    assert!(terminal.contains(&last) && !pipe.contains('\x1b'), "{pipe}");
    for (flags, environment) in [(&["kms", "--quiet"][..], &[][..]), (&["kms"], &[("CI", "true")])] {
        let (terminal, _) = on_terminal(true, flags, environment);
        assert_eq!(terminal, "", "{flags:?} {environment:?}");
    }
}

#[test]
fn colours_are_for_terminals_and_can_be_turned_off() {
    let (terminal, pipe) = on_terminal(false, &["kms"], &[]);
    assert!(terminal.contains("\x1b[32m") && !terminal.contains("[OK]"), "{terminal}");
    assert!(!pipe.contains('\x1b'), "{pipe}");
    type Case<'a> = (&'a [&'a str], &'a [(&'a str, &'a str)]);
    let quiet: [Case<'_>; 4] = [
        (&["kms", "--no-color"], &[]),
        (&["kms"], &[("NO_COLOR", "1")]),
        (&["kms"], &[("CI", "true")]),
        (&["kms"], &[("TERM", "dumb")]),
    ];
    for (flags, environment) in quiet {
        let (terminal, _) = on_terminal(false, flags, environment);
        assert!(!terminal.contains('\x1b') && terminal.contains("[SUCCESS] "), "{flags:?} {environment:?}: {terminal}");
    }
}
