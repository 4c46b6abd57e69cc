//! Who asks a control plane: the commands, and workers.

use std::time::Duration;

use rspp_controlplane::wire::Problem;
use rspp_specs::binding::KeyReference;
use serde::Serialize;
use serde::de::DeserializeOwned;
use ureq::http::Request;

/// How long a control plane may take to be reached.
const CONNECT: Duration = Duration::from_secs(2);
/// Bytes of an answer.
const MAX_ANSWER_BYTES: u64 = 64 << 20;

/// A control plane, from outside.
#[derive(Clone)]
pub struct Client {
    url: String,
    key: Option<String>,
    agent: ureq::Agent,
}

/// Why there is no answer that helps.
#[derive(Clone, Debug, thiserror::Error)]
pub enum AskError {
    /// Nobody answers.
    #[error("no control plane answers at {url} ({says}): is `rspp control-plane` there? --control-plane says where")]
    Unreachable {
        /// Where.
        url: String,
        /// Why.
        says: String,
    },
    /// It says no.
    #[error("the control plane says {}: {}", .0.code, .0.message)]
    Refused(Problem),
    /// It says something that is not understood here.
    #[error("what answers at {url} is no control plane of this version ({says})")]
    Strange {
        /// Where.
        url: String,
        /// What is wrong with it.
        says: String,
    },
    /// The key.
    #[error("the key {reference}: {says}")]
    Key {
        /// Where it should be.
        reference: String,
        /// Why it is not.
        says: String,
    },
}

impl AskError {
    /// The code of a refusal.
    pub fn code(&self) -> Option<&str> {
        match self {
            AskError::Refused(problem) => Some(&problem.code),
            _ => None,
        }
    }
}

impl Client {
    /// For the control plane at this address, with the key that this refers to. `patience` is for an answer.
    ///
    /// # Errors
    /// The key is not there.
    pub fn new(url: &str, key: Option<&KeyReference>, patience: Duration) -> Result<Self, AskError> {
        let key = key.map(read_key).transpose()?;
        let config = ureq::Agent::config_builder().timeout_connect(Some(CONNECT)).timeout_global(Some(patience));
        let config = config.http_status_as_error(false).max_redirects(0).proxy(None);
        let agent = ureq::Agent::new_with_config(config.build());
        Ok(Self { url: url.trim_end_matches('/').to_owned(), key, agent })
    }

    /// Where it is.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Asks to look.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn get<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.ask("GET", path, Vec::new()).and_then(|body| self.read(&body))
    }

    /// Asks for something that may not be there yet.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn get_if_any<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, AskError> {
        let body = self.ask("GET", path, Vec::new())?;
        if body.is_empty() { Ok(None) } else { self.read(&body).map(Some) }
    }

    /// Asks for something to be done.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn post<T: DeserializeOwned>(&self, path: &str, what: &impl Serialize) -> Result<T, AskError> {
        self.send("POST", path, what)
    }

    /// Asks for something to be so.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn put<T: DeserializeOwned>(&self, path: &str, what: &impl Serialize) -> Result<T, AskError> {
        self.send("PUT", path, what)
    }

    /// Asks for something to be gone.
    ///
    /// # Errors
    /// It does not answer, or says no.
    pub fn delete<T: DeserializeOwned>(&self, path: &str) -> Result<T, AskError> {
        self.ask("DELETE", path, Vec::new()).and_then(|body| self.read(&body))
    }

    fn send<T: DeserializeOwned>(&self, method: &str, path: &str, what: &impl Serialize) -> Result<T, AskError> {
        let body = serde_json::to_vec(what).map_err(|error| self.strange(&error))?;
        self.ask(method, path, body).and_then(|body| self.read(&body))
    }

    fn ask(&self, method: &str, path: &str, body: Vec<u8>) -> Result<Vec<u8>, AskError> {
        let mut request = Request::builder().method(method).uri(format!("{}{path}", self.url));
        if let Some(key) = &self.key {
            request = request.header("authorization", format!("Bearer {key}"));
        }
        if !body.is_empty() {
            request = request.header("content-type", "application/json");
        }
        let unreachable = |says: String| AskError::Unreachable { url: self.url.clone(), says };
        let answer = if body.is_empty() && method != "POST" && method != "PUT" {
            self.agent.run(request.body(()).map_err(|error| unreachable(error.to_string()))?)
        } else {
            self.agent.run(request.body(body).map_err(|error| unreachable(error.to_string()))?)
        };
        let mut answer = answer.map_err(|error| unreachable(error.to_string()))?;
        let is_fine = answer.status().is_success();
        let read = answer.body_mut().with_config().limit(MAX_ANSWER_BYTES).read_to_vec();
        let read = read.map_err(|error| unreachable(error.to_string()))?;
        if is_fine { Ok(read) } else { Err(AskError::Refused(self.read(&read)?)) }
    }

    fn read<T: DeserializeOwned>(&self, body: &[u8]) -> Result<T, AskError> {
        serde_json::from_slice(body).map_err(|error| self.strange(&error))
    }

    fn strange(&self, error: &serde_json::Error) -> AskError {
        AskError::Strange { url: self.url.clone(), says: error.to_string() }
    }
}

fn read_key(reference: &KeyReference) -> Result<String, AskError> {
    let missing = |says: String| AskError::Key { reference: reference.to_string(), says };
    let key = match reference {
        KeyReference::Environment(name) => {
            std::env::var(name).map_err(|_| missing("the environment has no such variable".to_owned()))?
        }
        KeyReference::File(path) => std::fs::read_to_string(path).map_err(|error| missing(error.to_string()))?,
        KeyReference::Store { .. } => return Err(missing("keys are read from `env:` and `file:`".to_owned())),
    };
    Ok(key.trim().to_owned())
}
