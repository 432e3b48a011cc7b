//! What a run does where its call is sold: the host asks for payments, takes them and keeps the books; the client is told in its own way.

use front::http::Outgoing;
use front::ports::Answer;
use front::{problem, x402};
use serde_json::{Map, Value};

use crate::error::A2aError;
use crate::pay;
use crate::ports::World;
use crate::reader::{said, status_with};
use crate::rows::Stage;
use crate::run::{After, Run};
use crate::task::State;

const UNSETTLED: &str = "It is not known yet whether the payment was settled. Send the same message with the same payment again.";

impl<W: World> Run<'_, W> {
    /// What the host says about the sale; none where the answer is the agent's.
    pub(crate) fn sold(&mut self, answer: &Answer) -> Result<Option<After>, A2aError> {
        let is_submitted = self.order.submitted.is_some();
        if let Some(challenge) = x402::challenge(answer, &self.order.url) {
            return self.demanded(answer, challenge).map(|()| Some(After::Over));
        }
        if problem::is(answer, "payment-reused") {
            return self.reused(answer).map(|()| Some(After::Over));
        }
        if is_submitted && problem::is_unsettled(answer) {
            self.unsettled()?;
            return Ok(Some(After::Again(problem::settling_wait(answer))));
        }
        if is_submitted && answer.status == 503 && problem::of(answer).is_some() && self.is_begun {
            return Ok(Some(After::Again(problem::settling_wait(answer))));
        }
        self.receipt(answer);
        Ok(None)
    }

    /// Keeps what the host says became of the payment.
    pub(crate) fn receipt(&mut self, answer: &Answer) {
        let Some(sale) = &mut self.writer.record.sale else {
            return;
        };
        let Some(header) = x402::response_header(answer) else {
            return;
        };
        sale.response = Some(header.to_owned());
        if let Some(receipt) = x402::response(answer) {
            // The ledger answers the same call with the same receipt.
            let receipt = Value::Object(receipt);
            if !sale.receipts.contains(&receipt) {
                sale.receipts.push(receipt);
            }
        }
        self.headers.push(("payment-response", header.to_owned()));
    }

    /// Nothing of a sale is open when what was paid for is kept, and not before: until then the ledger can be asked again.
    pub(crate) fn sale_ends(&mut self, state: State) {
        if let Some(sale) = &mut self.writer.record.sale
            && (sale.stage == Stage::Submitted || state.is_terminal())
        {
            sale.stage = Stage::Over;
        }
    }

    /// The host asks for a payment.
    fn demanded(&mut self, answer: &Answer, challenge: Map<String, Value>) -> Result<(), A2aError> {
        if !self.order.is_in_band {
            if !self.is_begun {
                return Err(A2aError::Demand(Box::new(self.demand(answer, &challenge))));
            }
            self.close_sale();
            let text = match pay::reason(&challenge) {
                reason if reason.is_empty() => "A payment is required.".to_owned(),
                reason => format!("The payment was refused: {reason}"),
            };
            return self.finish_saying(State::Failed, &text);
        }
        let challenge = Value::Object(challenge);
        if self.order.submitted.is_some() {
            return self.payment_failed(answer, Some(challenge));
        }
        self.ask(
            "A payment is required.",
            pay::demand(&challenge),
            Some(challenge),
        )
    }

    /// The payment was used for something else.
    fn reused(&mut self, answer: &Answer) -> Result<(), A2aError> {
        if self.order.is_in_band {
            return self.payment_failed(answer, None);
        }
        if !self.is_begun {
            return Err(A2aError::PaymentUsed);
        }
        self.close_sale();
        self.finish_saying(State::Failed, &A2aError::PaymentUsed.to_string())
    }

    /// A payment in a message was not taken: the client may send another.
    fn payment_failed(
        &mut self,
        answer: &Answer,
        challenge: Option<Value>,
    ) -> Result<(), A2aError> {
        let code = pay::code(answer);
        let mut receipts = Vec::new();
        let mut asked = challenge;
        if let Some(sale) = &mut self.writer.record.sale {
            sale.receipts.push(pay::failed_receipt(answer, code));
            receipts.clone_from(&sale.receipts);
            asked = asked.or_else(|| sale.challenge.clone());
        }
        let metadata = pay::failure(asked.as_ref(), code, &receipts);
        self.ask(
            &format!("The payment was not taken: {code}."),
            metadata,
            asked,
        )
    }

    fn ask(
        &mut self,
        text: &str,
        metadata: Value,
        challenge: Option<Value>,
    ) -> Result<(), A2aError> {
        if let Some(sale) = &mut self.writer.record.sale {
            sale.stage = Stage::Required;
            sale.is_in_band = true;
            sale.payment = None;
            sale.challenge = challenge;
        }
        let mut message = said(self.world, &self.writer.record, text);
        message["metadata"] = metadata;
        self.finish(State::InputRequired, Some(message))
    }

    fn close_sale(&mut self) {
        if let Some(sale) = &mut self.writer.record.sale {
            sale.stage = Stage::Over;
        }
    }

    /// Says that nobody knows yet what became of the payment.
    pub(crate) fn unsettled(&mut self) -> Result<(), A2aError> {
        let task = &self.writer.record.task;
        let before = task.message.as_ref().and_then(|it| it.get("parts"));
        if self.is_begun && before == Some(&serde_json::json!([{"text": UNSETTLED}])) {
            return Ok(());
        }
        let mut message = said(self.world, &self.writer.record, UNSETTLED);
        if self.order.is_in_band {
            message["metadata"] = pay::pending();
        }
        let state = State::Working;
        let event = status_with(self.world, &self.writer.record, state, Some(message));
        self.emit(event)
    }

    /// The message that ends a turn, with what became of payments.
    pub(crate) fn with_receipts(&self, state: State, message: Option<Value>) -> Option<Value> {
        let sale = self.writer.record.sale.as_ref();
        let sale = sale.filter(|sale| sale.is_in_band && !sale.receipts.is_empty());
        let Some(sale) = sale.filter(|_| state.is_terminal()) else {
            return message;
        };
        let world = self.world;
        let mut message =
            message.unwrap_or_else(|| said(world, &self.writer.record, "The payment was settled."));
        let is_paid = sale
            .receipts
            .iter()
            .any(|it| it.get("success") == Some(&Value::Bool(true)));
        let added = match is_paid {
            true => pay::completion(&sale.receipts),
            false => pay::failure(None, "SETTLEMENT_FAILED", &sale.receipts),
        };
        if !message.get("metadata").is_some_and(Value::is_object) {
            message["metadata"] = Value::Object(Map::new());
        }
        if let (Some(Value::Object(metadata)), Value::Object(added)) =
            (message.get_mut("metadata"), added)
        {
            metadata.extend(added);
        }
        Some(message)
    }

    /// The host's demand as an answer of HTTP.
    fn demand(&self, answer: &Answer, challenge: &Map<String, Value>) -> Outgoing {
        let body = x402::challenge_in_body(answer, &self.order.url);
        let body = body.unwrap_or_else(|| challenge.clone());
        let mut headers = vec![
            ("content-type", "application/json".to_owned()),
            ("cache-control", "no-store".to_owned()),
        ];
        if answer.fields.first("payment-required").is_some() {
            headers.push(("payment-required", x402::to_header(challenge)));
        }
        if let Some(response) = x402::response_header(answer) {
            headers.push(("payment-response", response.to_owned()));
        }
        Outgoing {
            status: answer.status,
            headers,
            body: Value::Object(body).to_string().into_bytes(),
        }
    }
}
