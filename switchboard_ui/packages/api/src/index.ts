export * from "./api";
export * from "./http";
export * from "./live-client";
export * from "./live-data";
export * from "./socket-transport";
export * from "./store";
export * from "./types";
