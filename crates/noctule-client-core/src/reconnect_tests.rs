//! What the plan does after which end.

use alloc::vec;
use alloc::vec::Vec;

use noctule_packet::UserProperties;

use super::*;
use crate::ended::{ServerReason, TransportEnd};

const LOST: Ended = Ended::Transport(TransportEnd::Failed);

fn now(seconds: u64) -> Timestamp {
    Timestamp::from_millis(seconds * 1_000)
}

fn steady() -> ReconnectSettings {
    let backoff = Backoff { jitter: Jitter::None, ..Backoff::default() };
    ReconnectSettings { backoff, ..ReconnectSettings::default() }
}

fn by_server(code: ReasonCode, reference: Option<&str>) -> Ended {
    Ended::ByServer(Box::new(ServerReason {
        code,
        text: None,
        server_reference: reference.map(Into::into),
        user_properties: UserProperties::new(),
    }))
}

/// Where and in how many seconds the plan goes on.
fn next(plan: &mut ReconnectPlan, at: u64, ended: &Ended) -> (Target, u64) {
    match plan.disconnected(now(at), ended) {
        Step::Connect { at: then, target, .. } => (target, then.since(now(at)).as_secs()),
        Step::Stop(cause) => panic!("{cause:?}"),
    }
}

fn endpoint(at: usize) -> Target {
    Target::Endpoint(at)
}

fn redirected(reference: &str, with_credentials: bool) -> Target {
    Target::Redirected { reference: reference.into(), with_credentials }
}

#[test]
fn waits_grow_until_a_connection_has_lasted() {
    let mut plan = ReconnectPlan::new(steady(), 1, 7);
    let mut waits = Vec::new();
    for _ in 0..4 {
        waits.push(next(&mut plan, 0, &LOST).1);
    }
    assert_eq!((waits, plan.failures()), (vec![1, 2, 4, 8], 4));
    plan.connected(now(100));
    assert_eq!(next(&mut plan, 129, &LOST), (endpoint(0), 16));
    plan.connected(now(200));
    assert_eq!(next(&mut plan, 230, &LOST), (endpoint(0), 1));
    assert_eq!(plan.failures(), 1);
}

#[test]
fn all_endpoints_are_tried_before_a_wait_and_a_good_one_first() {
    let mut plan = ReconnectPlan::new(steady(), 3, 7);
    let steps: Vec<_> = (0..5).map(|_| next(&mut plan, 0, &LOST)).collect();
    let expected = [(1, 0), (2, 0), (0, 1), (1, 0), (2, 0)].map(|(at, wait)| (endpoint(at), wait));
    assert_eq!(steps, expected);
    plan.connected(now(10));
    assert_eq!(next(&mut plan, 11, &LOST).0, endpoint(2));
    assert_eq!(next(&mut plan, 12, &LOST), (endpoint(0), 0));
}

#[test]
fn attempts_can_be_limited_and_the_first_left_out() {
    let mut plan =
        ReconnectPlan::new(ReconnectSettings { attempts_max: Some(3), ..steady() }, 1, 7);
    for _ in 0..2 {
        next(&mut plan, 0, &LOST);
    }
    let exhausted = StopCause::AttemptsExhausted { attempts: 3 };
    assert_eq!(plan.disconnected(now(0), &LOST), Step::Stop(exhausted));

    let settings = ReconnectSettings { includes_first: false, ..steady() };
    let mut plan = ReconnectPlan::new(settings, 1, 7);
    let failure = Failure::Transport(TransportEnd::Failed);
    assert_eq!(
        plan.clone().disconnected(now(0), &LOST),
        Step::Stop(StopCause::FirstFailed(failure))
    );
    plan.connected(now(0));
    assert_eq!(next(&mut plan, 1, &LOST).0, endpoint(0));
}

#[test]
fn reasons_decide_whether_and_when() {
    for (ended, expected) in [
        (Ended::ByUser, None),
        (by_server(ReasonCode::SessionTakenOver, None), None),
        (by_server(ReasonCode::NotAuthorized, None), None),
        (by_server(ReasonCode::ServerBusy, None), Some(11)),
        (by_server(ReasonCode::ServerShuttingDown, None), Some(11)),
        (by_server(ReasonCode::KeepAliveTimeout, None), Some(1)),
        (Ended::PingTimeout, Some(1)),
        (Ended::Authentication(crate::AuthError::new("no")), None),
    ] {
        let mut plan = ReconnectPlan::new(steady(), 1, 7);
        plan.connected(now(0));
        let wait = match plan.disconnected(now(60), &ended) {
            Step::Connect { at, .. } => Some(at.since(now(60)).as_secs()),
            Step::Stop(_) => None,
        };
        assert_eq!(wait, expected, "{ended:?}");
    }
}

/// A network that was gone may bring a CONNECT that was long given up.
#[test]
fn a_client_that_has_taken_its_own_session_over_comes_back() {
    let taken_over = by_server(ReasonCode::SessionTakenOver, None);
    let mut plan = ReconnectPlan::new(steady(), 1, 7);
    for _ in 0..2 {
        next(&mut plan, 0, &Ended::ConnectTimeout);
    }
    for _ in 0..2 {
        plan.connected(now(1));
        assert_eq!(next(&mut plan, 2, &taken_over).0, endpoint(0));
    }
    // Both have come, so that this is somebody else.
    plan.connected(now(3));
    assert!(matches!(plan.clone().disconnected(now(4), &taken_over), Step::Stop(_)));
    // Unless the user says what to do.
    let failure = Failure::ByServer(ReasonCode::SessionTakenOver);
    let policy = ReconnectPolicy::default().with(failure, Reaction::Stop);
    let mut firm = ReconnectPlan::new(ReconnectSettings { policy, ..steady() }, 1, 7);
    next(&mut firm, 0, &Ended::ConnectTimeout);
    firm.connected(now(1));
    assert!(matches!(firm.disconnected(now(2), &taken_over), Step::Stop(_)));
    // None comes after so long.
    next(&mut plan, 4, &Ended::ConnectTimeout);
    plan.connected(now(5));
    assert!(matches!(plan.disconnected(now(5_000), &taken_over), Step::Stop(_)));
}

#[test]
fn an_older_version_is_tried_at_once_and_is_no_failure() {
    use noctule_packet::Version;
    let mut plan = ReconnectPlan::new(steady(), 2, 7);
    let ended = Ended::Downgraded { from: Version::V5_0, to: Version::V3_1_1 };
    assert_eq!(next(&mut plan, 0, &ended), (endpoint(0), 0));
    assert_eq!(plan.failures(), 0);
}

fn following(allowed: Redirects) -> ReconnectPlan {
    let credentials = vec!["*.ours".into()];
    let redirect = Redirect { allowed, hops_max: 2, credentials };
    ReconnectPlan::new(ReconnectSettings { redirect, ..steady() }, 1, 7)
}

#[test]
fn redirections_are_off_unless_allowed() {
    let moved = by_server(ReasonCode::ServerMoved, Some("b.ours"));
    let elsewhere = by_server(ReasonCode::UseAnotherServer, Some("b.ours"));
    let mut plan = ReconnectPlan::new(steady(), 1, 7);
    let refused = StopCause::RedirectRefused(RedirectRefused::Off);
    assert_eq!(plan.disconnected(now(0), &moved), Step::Stop(refused));
    assert_eq!(next(&mut plan, 0, &elsewhere).0, endpoint(0));
    let mut plan = following(Redirects::To(vec!["c.ours".into()]));
    let reference = "b.ours".into();
    let refused = StopCause::RedirectRefused(RedirectRefused::NotAllowed { reference });
    assert_eq!(plan.disconnected(now(0), &moved), Step::Stop(refused));
}

#[test]
fn credentials_follow_only_where_they_may() {
    for (reference, with_credentials) in
        [("b.ours:8883", true), ("b.theirs", false), ("x@b.ours", false)]
    {
        let mut plan = following(Redirects::Anywhere);
        let ended = by_server(ReasonCode::UseAnotherServer, Some(reference));
        assert_eq!(next(&mut plan, 0, &ended), (redirected(reference, with_credentials), 0));
    }
}

#[test]
fn a_temporary_redirection_leads_home_again_and_a_permanent_one_does_not() {
    for (code, then) in [
        (ReasonCode::UseAnotherServer, endpoint(0)),
        (ReasonCode::ServerMoved, redirected("b.ours", true)),
    ] {
        let mut plan = following(Redirects::Anywhere);
        assert_eq!(
            next(&mut plan, 0, &by_server(code, Some("b.ours"))).0,
            redirected("b.ours", true)
        );
        plan.connected(now(1));
        assert_eq!(next(&mut plan, 2, &LOST).0, then);
    }
}

#[test]
fn redirections_end_in_circles_and_after_too_many_hops() {
    let to = |reference| by_server(ReasonCode::ServerMoved, Some(reference));
    let mut plan = following(Redirects::Anywhere);
    next(&mut plan, 0, &to("b"));
    let refused = RedirectRefused::Loop { reference: "B".into() };
    assert_eq!(
        plan.clone().disconnected(now(0), &to("B")),
        Step::Stop(StopCause::RedirectRefused(refused))
    );
    assert_eq!(next(&mut plan, 0, &to("B c")).0, redirected("c", false));
    let refused = RedirectRefused::TooManyHops { maximum: 2 };
    assert_eq!(
        plan.disconnected(now(0), &to("d")),
        Step::Stop(StopCause::RedirectRefused(refused))
    );
}

#[test]
fn what_the_user_begins_anew_has_no_past() {
    let settings = ReconnectSettings { attempts_max: Some(3), ..steady() };
    let mut plan = ReconnectPlan::new(settings, 2, 7);
    let step = |at, endpoint, failures| Step::Connect {
        at: now(at),
        target: Target::Endpoint(endpoint),
        failures,
    };
    assert_eq!(plan.disconnected(now(0), &LOST), step(0, 1, 1));
    assert_eq!(plan.disconnected(now(0), &LOST), step(1, 0, 2));
    assert_eq!(plan.connect_at(now(9)), step(9, 0, 2));
    assert_eq!(plan.restart(now(5)), step(5, 0, 0));
    assert_eq!(plan.disconnected(now(5), &LOST), step(5, 1, 1));
    assert_eq!(plan.disconnected(now(5), &LOST), step(6, 0, 2));
}
