//! The rumqttc group of the interop tests: runs its cases and reports each as a JSON line.

mod delivery;
mod modern;
mod peer;
mod session;

use peer::Version;
use serde_json::json;
use std::future::Future;
use std::pin::Pin;
use std::sync::Mutex;
use std::time::Duration;

const SECONDS: u64 = 10;

/// What the last panic said, with its place.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

type Body = Pin<Box<dyn Future<Output = ()> + Send>>;

/// One test: its name and what it does.
struct Case {
    name: String,
    body: Body,
}

/// Collects the cases of all files.
#[derive(Default)]
struct Cases(Vec<Case>);

impl Cases {
    /// Adds a case for one version; `title` says the rest of its name.
    fn add(
        &mut self,
        version: Version,
        title: impl Into<String>,
        body: impl Future<Output = ()> + Send + 'static,
    ) {
        let name = format!("rumqttc/{version}/{}", title.into().replace(' ', "_"));
        self.0.push(Case { name, body: Box::pin(body) });
    }
}

/// Runs one case in a task of its own. Returns the reason why it failed.
async fn outcome(body: Body) -> Option<String> {
    let mut task = tokio::spawn(body);
    match tokio::time::timeout(Duration::from_secs(SECONDS), &mut task).await {
        Ok(Ok(())) => None,
        Ok(Err(_)) => Some(COMPLAINT.lock().map(|said| said.clone()).unwrap_or_default()),
        Err(_) => {
            task.abort();
            Some(format!("not done within {SECONDS} s"))
        }
    }
}

#[tokio::main(worker_threads = 2)]
async fn main() {
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut said) = COMPLAINT.lock() {
            *said = info.to_string();
        }
    }));
    let filter = std::env::var("INTEROP_FILTER").unwrap_or_default();
    let wanted: Vec<&str> = filter.split('\n').filter(|word| !word.is_empty()).collect();
    let mut cases = Cases::default();
    for version in [Version::V311, Version::V50] {
        delivery::cases(version, &mut cases);
        session::cases(version, &mut cases);
    }
    modern::cases(&mut cases);
    for Case { name, body } in cases.0 {
        if wanted.is_empty() || wanted.iter().any(|word| name.contains(word)) {
            println!("{}", json!({ "start": name, "seconds": SECONDS }));
            let error = outcome(body).await;
            println!("{}", json!({ "end": name, "error": error }));
        }
    }
}
