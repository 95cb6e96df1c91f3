import type { ApiSchemas } from "./generated/api";
import type { LiveMessages } from "./generated/live";

// The generated files stay behind this one, so that a name both of them define has one owner.
export type {
  LiveAgent,
  LiveCall,
  LiveQueue,
  LiveWork,
  Me,
  PersonBrief,
  QueueFacts,
  Snapshot,
} from "./generated/live";
export type LiveEvent = LiveMessages["event"];
export type SessionOver = LiveMessages["session_over"];

export type Activity = LiveMessages["snapshot"]["agents"][number]["activity"];
export type ChosenState = ApiSchemas["AgentStateRequest"]["state"];
export type AgentStateAnswer = ApiSchemas["AgentStateAnswer"];
export type CallAccepted = ApiSchemas["CallAccepted"];
export type CallItem = ApiSchemas["CallItem"];
export type CallPage = ApiSchemas["CallPage"];
export type Cause = CallItem["cause"];
export type LoginAnswer = ApiSchemas["LoginAnswer"];
export type MeAnswer = ApiSchemas["MeAnswer"];
export type Role = LiveMessages["snapshot"]["me"]["roles"][number];
export type Problem = ApiSchemas["Problem"];
