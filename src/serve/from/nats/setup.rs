//! What has to be known of a stream and a consumer before messages are asked for.

use std::sync::Arc;
use std::time::{Duration, Instant};

use super::json::{Json, quote};
use super::machine::{NatsNote, NatsTurn};
use super::outgoing::Outgoing;
use super::{NatsConfig, NatsIntake};

/// How long a consumer that is made here waits for an acknowledgement.
const ACK_WAIT: Duration = Duration::from_secs(30);

/// Messages that a consumer that is made here may have under way.
const ACK_PENDING: usize = 20_000;

/// What the server says of things that are not there.
const STREAM_NOT_FOUND: i64 = 10_059;
const CONSUMER_NOT_FOUND: i64 = 10_014;
/// Another has just made it.
const CONSUMER_EXISTS: i64 = 10_013;
const CONSUMER_NAME_IN_USE: i64 = 10_148;

/// What is known of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ConsumerFacts {
    pub ack_wait: Duration,
    /// Deliveries of a message, if they are limited.
    pub max_deliver: Option<u64>,
}

impl Default for ConsumerFacts {
    fn default() -> ConsumerFacts {
        ConsumerFacts { ack_wait: ACK_WAIT, max_deliver: None }
    }
}

pub(super) struct Setup {
    config: Arc<NatsConfig>,
    step: SetupStep,
    /// When its question was asked.
    since: Instant,
    questions: u64,
    facts: ConsumerFacts,
    /// It was said that replies may be stored twice.
    warned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum SetupStep {
    /// There is no connection.
    Off,
    /// What the consumer is.
    Consumer,
    /// It is made.
    Making,
    /// Which stream stores the replies.
    Store,
    /// What that is.
    StoreInfo,
    Ready,
}

impl Setup {
    pub fn new(config: &Arc<NatsConfig>, now: Instant) -> Setup {
        Setup {
            config: config.clone(),
            step: SetupStep::Off,
            since: now,
            questions: 0,
            facts: ConsumerFacts::default(),
            warned: false,
        }
    }

    pub fn is_ready(&self) -> bool {
        self.step == SetupStep::Ready
    }

    pub fn is_under_way(&self) -> bool {
        !matches!(self.step, SetupStep::Off | SetupStep::Ready)
    }

    /// When the last question was asked.
    pub fn since(&self) -> Instant {
        self.since
    }

    pub fn begin(&mut self, out: &mut Outgoing, now: Instant) {
        let (stream, consumer) = self.names();
        let subject = format!("CONSUMER.INFO.{stream}.{consumer}");
        self.ask(SetupStep::Consumer, &subject, "", out, now);
    }

    pub fn end(&mut self) {
        self.step = SetupStep::Off;
    }

    fn names(&self) -> (&str, &str) {
        match &self.config.intake {
            NatsIntake::Stream { stream, consumer, .. } => (stream, consumer),
            NatsIntake::Subscription { .. } => ("", ""),
        }
    }

    fn to(&self) -> Option<&str> {
        match &self.config.intake {
            NatsIntake::Stream { to, .. } => to.as_deref(),
            NatsIntake::Subscription { .. } => None,
        }
    }

    fn ask(
        &mut self,
        step: SetupStep,
        subject: &str,
        body: &str,
        out: &mut Outgoing,
        now: Instant,
    ) {
        self.step = step;
        self.since = now;
        self.questions += 1;
        let inbox = format!("{}.r.x{}", out.inbox, self.questions);
        out.publish(&format!("$JS.API.{subject}"), Some(&inbox), &[], body.as_bytes());
    }

    /// The answer to a question has come. Returns what is known, once that is all.
    ///
    /// # Errors
    ///
    /// Why there can be no messages.
    pub fn answer(
        &mut self,
        question: &str,
        status: Option<(u16, &str)>,
        body: &[u8],
        turn: &mut NatsTurn<'_>,
    ) -> Result<Option<ConsumerFacts>, String> {
        if question.parse() != Ok(self.questions) || !self.is_under_way() {
            return Ok(None);
        }
        if status.is_some_and(|(code, _)| code == 503) {
            return Err(
                "the server has no JetStream (nats-server -js), or not for this user".into()
            );
        }
        let answer = Json::parse(body).ok_or("JetStream's answer is not JSON")?;
        let error = answer.get("error").map(ApiError::of);
        match self.step {
            SetupStep::Off | SetupStep::Ready => return Ok(None),
            SetupStep::Consumer | SetupStep::Making => self.consumer(&answer, error, turn)?,
            SetupStep::Store => {
                let to = self.to().unwrap_or_default().to_owned();
                let found = answer.get("streams").map_or(&[][..], Json::list);
                let Some(stream) = found.first().and_then(Json::text) else {
                    return Err(format!("no stream stores {to}, where replies go: make one"));
                };
                if stream.contains(|char: char| char.is_whitespace() || char.is_control()) {
                    return Err("JetStream's answer makes no sense".into());
                }
                let subject = format!("STREAM.INFO.{stream}");
                self.ask(SetupStep::StoreInfo, &subject, "", turn.out, turn.now);
            }
            SetupStep::StoreInfo => {
                self.check_window(&answer, turn);
                self.step = SetupStep::Ready;
            }
        }
        Ok(self.is_ready().then(|| self.facts.clone()))
    }

    fn consumer(
        &mut self,
        answer: &Json,
        error: Option<ApiError>,
        turn: &mut NatsTurn<'_>,
    ) -> Result<(), String> {
        let (stream, consumer) = self.names();
        let (stream, consumer) = (stream.to_owned(), consumer.to_owned());
        match error {
            Some(error) if error.code == CONSUMER_NOT_FOUND && self.step == SetupStep::Consumer => {
                let subject = format!("CONSUMER.DURABLE.CREATE.{stream}.{consumer}");
                let body = self.wanted(&stream, &consumer);
                self.ask(SetupStep::Making, &subject, &body, turn.out, turn.now);
                return Ok(());
            }
            Some(error)
                if [CONSUMER_EXISTS, CONSUMER_NAME_IN_USE].contains(&error.code)
                    && self.step == SetupStep::Making =>
            {
                self.begin(turn.out, turn.now);
                return Ok(());
            }
            Some(error) if error.code == STREAM_NOT_FOUND => {
                return Err(format!("there is no stream {stream}: make it"));
            }
            Some(error) => return Err(format!("consumer {consumer}: {}", error.text)),
            None => {}
        }
        self.facts = facts(answer).map_err(|why| format!("consumer {consumer} {why}"))?;
        match self.to() {
            None => self.step = SetupStep::Ready,
            Some(to) => {
                let body = format!("{{\"subject\":{}}}", quote(to));
                self.ask(SetupStep::Store, "STREAM.NAMES", &body, turn.out, turn.now);
            }
        }
        Ok(())
    }

    /// The consumer that is made if there is none. What kills a server is no fault of the message, so
    /// deliveries are not limited: messages that fail are counted here.
    fn wanted(&self, stream: &str, consumer: &str) -> String {
        let filter = match self.config.subject.as_str() {
            "" => String::new(),
            subject => format!(",\"filter_subject\":{}", quote(subject)),
        };
        format!(
            "{{\"stream_name\":{},\"config\":{{\"durable_name\":{},\"ack_policy\":\"explicit\",\
             \"deliver_policy\":\"all\",\"replay_policy\":\"instant\",\"ack_wait\":{},\
             \"max_deliver\":-1,\"max_ack_pending\":{ACK_PENDING}{filter}}}}}",
            quote(stream),
            quote(consumer),
            ACK_WAIT.as_nanos()
        )
    }

    /// A reply that is sent again is recognised for as long as this.
    fn check_window(&mut self, answer: &Json, turn: &mut NatsTurn<'_>) {
        let window = answer.get("config").and_then(|config| config.get("duplicate_window"));
        let window = Duration::from_nanos(
            window.and_then(Json::number).and_then(|nanos| u64::try_from(nanos).ok()).unwrap_or(0),
        );
        if window < 2 * self.facts.ack_wait && !std::mem::replace(&mut self.warned, true) {
            let to = self.to().unwrap_or_default();
            let text = format!(
                "a reply under {to} may be stored twice: its stream knows repeats for {window:?} only, \
                 and a message comes again after {:?} (raise its duplicate_window)",
                self.facts.ack_wait
            );
            turn.notes.push(NatsNote::Warning(text));
        }
    }
}

struct ApiError {
    code: i64,
    text: String,
}

impl ApiError {
    fn of(error: &Json) -> ApiError {
        let text = error.get("description").and_then(Json::text).unwrap_or("an error").to_owned();
        ApiError { code: error.get("err_code").and_then(Json::number).unwrap_or(0), text }
    }
}

/// Reads the configuration of a consumer.
fn facts(answer: &Json) -> Result<ConsumerFacts, String> {
    let config = answer.get("config").ok_or("has an answer that makes no sense")?;
    let text = |name: &str| config.get(name).and_then(Json::text).unwrap_or_default();
    if !text("deliver_subject").is_empty() {
        return Err("is a push consumer: name one that is pulled from".into());
    }
    if text("ack_policy") != "explicit" {
        let policy = text("ack_policy");
        return Err(format!(
            "has the ack_policy '{}': it has to be explicit",
            policy.escape_debug()
        ));
    }
    let number = |name: &str| config.get(name).and_then(Json::number);
    let ack_wait = number("ack_wait").and_then(|nanos| u64::try_from(nanos).ok());
    let ack_wait = ack_wait.filter(|nanos| *nanos > 0).map_or(ACK_WAIT, Duration::from_nanos);
    let max_deliver = number("max_deliver").and_then(|max| u64::try_from(max).ok());
    Ok(ConsumerFacts { ack_wait, max_deliver: max_deliver.filter(|max| *max > 0) })
}

/// Reads the answer to what was published to a stream: whether that had it already.
///
/// # Errors
///
/// Why it is not stored.
pub(super) fn stored(status: Option<(u16, &str)>, body: &[u8]) -> Result<bool, String> {
    if status.is_some_and(|(code, _)| code == 503) {
        return Err("no stream stores that subject".into());
    }
    let answer = Json::parse(body).ok_or("the answer is not JSON")?;
    if let Some(error) = answer.get("error") {
        return Err(ApiError::of(error).text);
    }
    // Something else that listens there could answer, and store nothing.
    answer.get("seq").and_then(Json::number).ok_or("the answer has no sequence")?;
    Ok(answer.get("duplicate").is_some_and(Json::is_true))
}
