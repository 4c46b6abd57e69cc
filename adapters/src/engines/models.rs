//! Which models a server offers that speaks as OpenAI's does: Ollama, llama.cpp, vLLM.

use std::time::Duration;

use serde::Deserialize;

use super::command::clean;

/// How long a server may take to answer.
const ANSWER: Duration = Duration::from_millis(1_500);
/// How long the connection may take: the servers that are looked for are on this machine.
const CONNECT: Duration = Duration::from_millis(500);
/// The longest list of models that is read.
const MAX_LIST_BYTES: u64 = 256 * 1024;
/// Models of one server that are told.
const MAX_MODELS: usize = 32;

/// Where such servers listen if nobody has told them otherwise.
pub(super) const USUAL: [(&str, &str); 3] = [
    ("Ollama", "http://127.0.0.1:11434/v1"),
    ("llama.cpp", "http://127.0.0.1:8080/v1"),
    ("vLLM", "http://127.0.0.1:8000/v1"),
];

#[derive(Deserialize)]
struct List {
    data: Vec<Model>,
}

#[derive(Deserialize)]
struct Model {
    id: String,
}

/// Why there is no list.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NoList {
    /// Nobody listens there.
    Nobody(String),
    /// Whoever listens there does not answer with a list.
    NoServer(String),
}

/// Asks a server, whose address ends as `http://HOST:PORT/v1`, for its models. Nothing but the question is sent: no
/// key.
pub(super) fn models(base: &str) -> Result<Vec<String>, NoList> {
    let config = ureq::Agent::config_builder().timeout_connect(Some(CONNECT)).timeout_global(Some(ANSWER));
    // A proxy has no business between us and a server on this machine.
    let agent = ureq::Agent::new_with_config(config.max_redirects(0).proxy(None).build());
    let asked = agent.get(format!("{}/models", base.trim_end_matches('/'))).call();
    let mut answer = asked.map_err(|error| match error {
        ureq::Error::StatusCode(401 | 403) => NoList::NoServer("it wants a key".to_owned()),
        ureq::Error::StatusCode(code) => NoList::NoServer(format!("it answers with status {code}")),
        other => NoList::Nobody(clean(&other.to_string())),
    })?;
    let body = answer.body_mut().with_config().limit(MAX_LIST_BYTES).read_to_string();
    let body = body.map_err(|error| NoList::NoServer(clean(&error.to_string())))?;
    let list: List = serde_json::from_str(&body)
        .map_err(|error| NoList::NoServer(clean(&format!("its answer is no list of models: {error}"))))?;
    Ok(list.data.iter().take(MAX_MODELS).map(|model| clean(&model.id)).collect())
}

/// An address without what should not be shown: a name and a password before the host, and what follows a `?`.
pub(super) fn shown(base: &str) -> String {
    let (scheme, rest) = base.split_once("://").unwrap_or(("", base));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at(end);
    let host = authority.rsplit('@').next().unwrap_or_default();
    let path = path.split(['?', '#']).next().unwrap_or_default();
    clean(&if scheme.is_empty() { format!("{host}{path}") } else { format!("{scheme}://{host}{path}") })
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// A server that gives one answer, whatever is asked, and what it was asked.
    fn server(answer: Vec<u8>) -> (String, std::thread::JoinHandle<String>) {
        let listener = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let base = format!("http://{}/v1", listener.local_addr().expect("it is bound"));
        let served = std::thread::spawn(move || {
            let (mut socket, _) = listener.accept().expect("somebody asks");
            let mut asked = Vec::new();
            let mut byte = [0];
            while !asked.ends_with(b"\r\n\r\n") && socket.read(&mut byte).is_ok_and(|read| read == 1) {
                asked.push(byte[0]);
            }
            let _ = socket.write_all(&answer);
            String::from_utf8_lossy(&asked).into_owned()
        });
        (base, served)
    }

    fn check(head: &str, body: &str, expected: Result<&[&str], &str>) {
        let length = body.len();
        let (base, served) = server(format!("HTTP/1.1 {head}\r\ncontent-length: {length}\r\n\r\n{body}").into_bytes());
        match (models(&base), expected) {
            (Ok(models), Ok(expected)) => assert_eq!(models, expected),
            (Err(NoList::NoServer(why)), Err(part)) => assert!(why.contains(part), "{why}"),
            (got, expected) => panic!("{got:?} is not {expected:?}"),
        }
        let asked = served.join().expect("the server ends").to_lowercase();
        assert!(asked.starts_with("get /v1/models http/1.1\r\n") && !asked.contains("authorization"), "{asked}");
    }

    #[test]
    fn a_server_lists_its_models() {
        check(
            "200 OK",
            r#"{"object":"list","data":[{"id":"llama3.2:1b"},{"id":"a\u001b[2J"}]}"#,
            Ok(&["llama3.2:1b", "a [2J"]),
        );
        check("200 OK", r#"{"data":[]}"#, Ok(&[]));
    }

    #[test]
    fn what_is_no_such_server_is_told() {
        check("200 OK", "<html>", Err("no list of models"));
        check("404 Not Found", "", Err("status 404"));
        check("401 Unauthorized", "", Err("a key"));
        check("302 Found\r\nlocation: http://example.invalid/", "", Err("no list"));
        check("200 OK", &" ".repeat(MAX_LIST_BYTES as usize + 1), Err("limit"));
    }

    #[test]
    fn an_address_at_which_nobody_listens_is_told_soon() {
        let free = TcpListener::bind("127.0.0.1:0").expect("the loopback has a free port");
        let address = free.local_addr().expect("it is bound");
        drop(free);
        assert!(matches!(models(&format!("http://{address}/v1")), Err(NoList::Nobody(_))));
        assert!(matches!(models("https://127.0.0.1:1/v1"), Err(NoList::Nobody(_))));
        assert!(matches!(models("no address"), Err(NoList::Nobody(_))));
    }

    #[test]
    fn an_address_is_shown_without_secrets() {
        for (base, expected) in [
            ("http://127.0.0.1:8080/v1", "http://127.0.0.1:8080/v1"),
            ("http://me:secret@host:1/v1?key=secret", "http://host:1/v1"),
            ("http://me:s@cret@host", "http://host"),
            ("host:1/v1", "host:1/v1"),
        ] {
            assert_eq!(shown(base), expected);
        }
    }
}
