/**
 * What the socket carries, as the page uses it: the daemon's own types (`generated/`), read-only, with what the page does not need left
 * out and with texts where a newer daemon may know more words than this page.
 */

import type * as Wire from './generated/wire'

/** Anything JSON can say. */
export type Json = null | boolean | number | string | readonly Json[] | JsonObject
/** A JSON object. Read-only: the mirror shares unchanged parts between versions. */
export interface JsonObject {
  readonly [key: string]: Json
}

export type Level = Wire.LogLevel
/** Least grave first. */
export const LEVELS = ['debug', 'info', 'warn', 'error', 'fatal'] as const satisfies readonly Level[]

/** One RFC 6902 operation. The daemon uses three of them; the page takes all six. */
export type PatchOperation =
  | { readonly op: 'add' | 'replace' | 'test'; readonly path: string; readonly value: Json }
  | { readonly op: 'remove'; readonly path: string }
  | { readonly op: 'move' | 'copy'; readonly path: string; readonly from: string }

/** A colour that the page does not know is shown as none. */
export type LogEntry = Readonly<Omit<Wire.LogEntry, 'color'>> & { readonly color: string }

/** A range of sequence numbers, both ends included. */
export type SeqRange = Readonly<Wire.LogSpan>

/** How many messages the daemon takes from this page. */
export type MessageLimits = Readonly<Pick<Wire.Limits, 'messagesPerS' | 'messageBurst'>>

export type WelcomeFrame = { readonly type: 'welcome' } & Readonly<Omit<Wire.Welcome, 'limits' | 'features'>> & {
    /** A token has to be sent before anything else comes. */
    readonly authRequired: boolean
    readonly limits: MessageLimits
  }

export type SnapshotFrame = { readonly type: 'state.snapshot' } & Readonly<Omit<Wire.StateSnapshot, 'data'>> & { readonly data: JsonObject }

export type PatchFrame = { readonly type: 'state.patch' } & Readonly<Omit<Wire.StatePatch, 'patch'>> & {
    readonly patch: readonly PatchOperation[]
  }

export type LogsFrame = { readonly type: 'logs.history' | 'logs.append' } & Readonly<Omit<Wire.LogRange, 'entries'>> & {
    readonly entries: readonly LogEntry[]
  }

/** Milliseconds since 1970, and the value. */
export type Sample = readonly [timestampMs: number, value: number]

export type TelemetryFrame = { readonly type: 'telemetry' } & Readonly<Pick<Wire.Telemetry, 'endpointId' | 'endpoint' | 'unit'>> & {
    readonly samples: readonly Sample[]
  }

/** Without a time when a recording answers. */
export type PongFrame = { readonly type: 'pong' } & Readonly<Partial<Pick<Wire.Pong, 'ts'>>>

export type CommandStage = Wire.CommandStage

/** How a command is, with the time of each stage that it has reached. */
export type CommandRecord = Readonly<Omit<Wire.CommandStatus, 'actualValue' | 'progress'>> & {
  readonly actualValue?: Json
  readonly progress?: Readonly<Wire.CommandProgress>
}

export type CommandStatusFrame = { readonly type: 'command_status'; readonly record: CommandRecord }

export type AckFrame = { readonly type: 'ack' } & Readonly<Wire.Ack>

/** A code that the page does not know is still shown. */
export type ErrorFrame = { readonly type: 'error' } & Readonly<Omit<Wire.ErrorMessage, 'code'>> & { readonly code: string }

/** Messages that no pane shows yet. */
export type UnusedFrame = {
  readonly type:
    | 'event'
    | 'alarm'
    | 'connected'
    | 'client_identified'
    | 'initial_execution_state'
    | 'block_started_enhanced'
    | 'block_executed_enhanced'
}

export type ServerFrame =
  | WelcomeFrame
  | SnapshotFrame
  | PatchFrame
  | LogsFrame
  | TelemetryFrame
  | PongFrame
  | AckFrame
  | ErrorFrame
  | CommandStatusFrame
  | UnusedFrame

export type ClientMessage =
  | { readonly type: 'hello'; readonly name: string; readonly page: string }
  | { readonly type: 'ping' }
  | { readonly type: 'state.resync' }
  | { readonly type: 'logs.replay'; readonly sinceSeq: number }
  | { readonly type: 'subscribe' | 'unsubscribe'; readonly channel: 'telemetry'; readonly endpointIds: number[] }
  | { readonly type: 'subscribe' | 'unsubscribe'; readonly channel: 'commands'; readonly id: string }
  | (Question & { readonly id: string })

/** Messages whose answer somebody waits for. */
export type Question =
  | ({ readonly type: 'command' } & Readonly<Omit<Wire.CommandRequest, 'args'>> & { readonly args: JsonObject })
  | { readonly type: 'command.cancel'; readonly commandId: string }
  /** What a command holds goes on being held, or is let go. */
  | { readonly type: 'lease.renew' | 'lease.end'; readonly commandId: string }

/** What the daemon, or the page in its place, says to a question. */
export type Answer =
  | { readonly ok: true; readonly commandId: string | null }
  /** `not-connected`: it was not sent. `link-lost`: it was, and nobody knows whether it arrived. All other codes are the daemon's. */
  | { readonly ok: false; readonly code: string; readonly message: string }
