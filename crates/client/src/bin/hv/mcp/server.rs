//! What is said to AI programs, in the words of the Model Context Protocol.

use std::sync::Arc;

use rmcp::model::{
    CallToolRequestParams, CallToolResponse, CallToolResult, ErrorData, Implementation, JsonObject,
    ListToolsResult, PaginatedRequestParams, ServerCapabilities, ServerConfig,
};
use rmcp::service::RequestContext;
use rmcp::{RoleServer, ServerHandler};

use super::arguments::{Call, Code, Component, Message, Query, Turn, read};
use super::jobs::{Kind, Run};
use super::turns::Turns;
use super::{agents, answer, say, tools, watch};
use crate::desk::{Desk, Trouble};
use crate::owner::Owner;

/// The tools of one host.
pub(super) struct Server {
    desk: Arc<Desk>,
    turns: Arc<Turns>,
    tells_agents: bool,
}

/// Something that is no tool.
struct NoSuchTool;

impl Server {
    pub(super) fn new(desk: Arc<Desk>, owner: Owner, tells_agents: bool) -> Self {
        Self {
            desk,
            turns: Arc::new(Turns::new(owner)),
            tells_agents,
        }
    }

    /// What has to be removed at the end.
    pub(super) fn turns(&self) -> Arc<Turns> {
        Arc::clone(&self.turns)
    }

    /// Does what a tool is for. What goes wrong is a result, too: the model has to see it.
    async fn call(&self, name: &str, arguments: JsonObject) -> Result<CallToolResult, NoSuchTool> {
        let done = match name {
            tools::RUN_PYTHON => self.script(Kind::Python, arguments).await,
            tools::RUN_JAVASCRIPT => self.script(Kind::Javascript, arguments).await,
            tools::RUN_WASM => self.component(arguments).await,
            tools::SESSION_EVALUATE => self.evaluate(arguments).await,
            tools::SEARCH_AGENTS => self.search(arguments).await,
            tools::CALL_AGENT => self.call_agent(arguments).await,
            tool if tool.starts_with(agents::PREFIX) => self.call_tool(tool, arguments).await,
            _ => return Err(NoSuchTool),
        };
        Ok(done.unwrap_or_else(|trouble| answer::of_trouble(&trouble)))
    }

    async fn script(&self, kind: Kind, arguments: JsonObject) -> Result<CallToolResult, Trouble> {
        let (bytes, given) = read::<Code>(arguments)?.into_parts();
        self.run(Run { kind, bytes, given }).await
    }

    async fn component(&self, arguments: JsonObject) -> Result<CallToolResult, Trouble> {
        let (bytes, given) = read::<Component>(arguments)?.into_parts()?;
        let kind = Kind::Wasm;
        self.run(Run { kind, bytes, given }).await
    }

    async fn run(&self, run: Run) -> Result<CallToolResult, Trouble> {
        let (execution, payment) = self.desk.run(&run).await?;
        Ok(answer::of_run(&execution, payment.as_ref()))
    }

    async fn evaluate(&self, arguments: JsonObject) -> Result<CallToolResult, Trouble> {
        let turn: Turn = read(arguments)?;
        let language = turn.language()?;
        self.turns.evaluate(&self.desk, language, turn.code).await
    }

    async fn search(&self, arguments: JsonObject) -> Result<CallToolResult, Trouble> {
        let Query { query } = read(arguments)?;
        agents::search(&self.desk, &query).await
    }

    async fn call_agent(&self, arguments: JsonObject) -> Result<CallToolResult, Trouble> {
        let (agent, message) = read::<Call>(arguments)?.into_parts()?;
        agents::call(&self.desk, agent, message).await
    }

    async fn call_tool(
        &self,
        tool: &str,
        arguments: JsonObject,
    ) -> Result<CallToolResult, Trouble> {
        let message: Message = read(arguments)?;
        agents::call_tool(&self.desk, tool, message).await
    }
}

impl ServerHandler for Server {
    fn get_info(&self) -> ServerConfig {
        let capabilities = ServerCapabilities::builder().enable_tools().build();
        ServerConfig::new(capabilities)
            .with_server_info(Implementation::new("hv", env!("CARGO_PKG_VERSION")))
            .with_instructions(tools::INSTRUCTIONS)
    }

    async fn list_tools(
        &self,
        _: Option<PaginatedRequestParams>,
        _: RequestContext<RoleServer>,
    ) -> Result<ListToolsResult, ErrorData> {
        let mut tools = tools::own(self.desk.pays());
        if self.tells_agents {
            match agents::listed_tools(&self.desk).await {
                Ok(agents) => tools.extend(agents),
                // The tools that there always are say the same when they are called.
                Err(trouble) => say(&format_args!("no agents are told as tools: {trouble}")),
            }
        }
        Ok(ListToolsResult::with_all_items(tools))
    }

    async fn call_tool(
        &self,
        request: CallToolRequestParams,
        context: RequestContext<RoleServer>,
    ) -> Result<CallToolResponse, ErrorData> {
        let name = request.name.into_owned();
        let arguments = request.arguments.unwrap_or_default();
        let token = context.meta.get_progress_token();
        let work = watch::watched(self.call(&name, arguments), (context.peer, token));
        // What was signed may be taken: its answer is waited for, so that it is known what was paid.
        let cancelled = async {
            match self.desk.pays() {
                true => std::future::pending().await,
                false => context.ct.cancelled().await,
            }
        };
        let done = tokio::select! {
            done = work => done,
            () = cancelled => {
                return Err(ErrorData::internal_error("the call was cancelled", None));
            }
        };
        match done {
            Ok(result) => Ok(result.into()),
            Err(NoSuchTool) => {
                let words = format!("there is no tool {name:?}");
                Err(ErrorData::invalid_params(words, None))
            }
        }
    }
}
