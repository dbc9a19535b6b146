/**
 * What the page's end of the socket does, without a socket: events and the time go in, effects come out, and `wakeAt` says when to
 * come back. It owns the connection's phase, the heartbeat, the backoff, the version and log-sequence bookkeeping, and the registry of
 * subscriptions and of questions without an answer. It holds no state document and no log entries; those belong to the stores.
 *
 *     idle --start--> connecting --socket-open--> opening --snapshot or resumed--> live
 *     connecting, opening, live --close, error, timeout--> waiting --backoff over--> connecting
 *     any --stop--> idle;  waiting is `stopped` instead when the daemon's configuration forbids reconnecting
 *     opening, live --a token is wanted--> locked --retry-now, once there is a session--> connecting
 */

import { decodeFrame, describeFault } from '../wire/decode'
import type { WireFault } from '../wire/decode'
import { DEFAULT_WS_CONFIG } from '../wire/slices'
import type { WsConfig } from '../wire/slices'
import type {
  AckFrame,
  Answer,
  ClientMessage,
  CommandRecord,
  ErrorFrame,
  LogsFrame,
  PatchFrame,
  PongFrame,
  Question,
  SeqRange,
  ServerFrame,
  SnapshotFrame,
  TelemetryFrame,
  WelcomeFrame,
} from '../wire/types'
import { backoffMs } from './backoff'

export type SessionPhase = 'idle' | 'connecting' | 'opening' | 'live' | 'waiting' | 'stopped' | 'locked'

export type SessionEvent =
  | { readonly kind: 'start' }
  | { readonly kind: 'stop' }
  /** The network came back or somebody asked: a waiting session connects at once. */
  | { readonly kind: 'retry-now' }
  | { readonly kind: 'socket-open'; readonly socket: number }
  | { readonly kind: 'socket-message'; readonly socket: number; readonly text: string }
  | { readonly kind: 'socket-close'; readonly socket: number; readonly code: number; readonly reason: string }
  | { readonly kind: 'wake' }
  | { readonly kind: 'subscribe' | 'unsubscribe'; readonly endpointIds: readonly number[] }
  /** Somebody waits for the answer, which comes under this id. */
  | { readonly kind: 'ask'; readonly id: string; readonly question: Question }
  /** One more, or one less, wants to hear of all commands. */
  | { readonly kind: 'follow-commands' | 'unfollow-commands' }
  | { readonly kind: 'configure'; readonly ws: WsConfig }
  /** The mirror could not apply a patch that the session had let through. */
  | { readonly kind: 'patch-refused'; readonly reason: string }

export type SessionEffect =
  | { readonly kind: 'open'; readonly socket: number; readonly resume: string | null }
  | { readonly kind: 'send'; readonly socket: number; readonly message: ClientMessage }
  | { readonly kind: 'close'; readonly socket: number; readonly code: number; readonly reason: string }
  | { readonly kind: 'phase'; readonly phase: SessionPhase; readonly attempt: number; readonly retryInMs: number | null; readonly reason: string | null }
  | { readonly kind: 'welcome'; readonly frame: WelcomeFrame }
  /** Another run of the daemon: log sequence numbers start again. */
  | { readonly kind: 'new-boot'; readonly bootId: string }
  | { readonly kind: 'snapshot'; readonly frame: SnapshotFrame }
  | { readonly kind: 'patch'; readonly frame: PatchFrame }
  | { readonly kind: 'resync'; readonly reason: string }
  | { readonly kind: 'logs'; readonly frame: LogsFrame; readonly missed: SeqRange | null }
  | { readonly kind: 'telemetry'; readonly frame: TelemetryFrame }
  | { readonly kind: 'answer'; readonly id: string; readonly answer: Answer }
  | { readonly kind: 'command'; readonly record: CommandRecord }
  /** From here on every command is heard of; what was before has to be fetched. */
  | { readonly kind: 'commands-behind' }
  | { readonly kind: 'pong'; readonly latencyMs: number; readonly serverMs: number | null }
  | { readonly kind: 'fault'; readonly reason: string }

export interface SessionOptions {
  readonly name: string
  readonly page: string
  /** In [0, 1); a parameter so that tests own it. */
  readonly random: () => number
}

/** Sent with our own closes; 4000 to 4999 are free for applications. */
const CLOSE_HEARTBEAT = 4000
const CLOSE_CONNECT_TIMEOUT = 4001
const CLOSE_RESYNC_TIMEOUT = 4002
const CLOSE_BAD_SNAPSHOT = 4003
const CLOSE_GOING_AWAY = 1000

/** The daemon's: a token is wanted, and none or a wrong one came in time, or it is no longer what it was. */
const CLOSED_UNAUTHORIZED = 4401

/** A snapshot may be megabytes on a slow line, so it gets more time than a pong. */
const SNAPSHOT_TIMEOUT_MS = 15_000
const CONNECT_TIMEOUT_MS = 10_000
/** After this the range that did not come back counts as missed and the log goes on. */
const REPLAY_TIMEOUT_MS = 5_000

/** The daemon takes no more series in one message. */
const IDS_PER_MESSAGE = 1024

/** The id of the subscription to all commands; those of questions are the client's and other texts. */
const COMMANDS_ID = 'commands'

export class Session {
  private phase: SessionPhase = 'idle'
  private ws = DEFAULT_WS_CONFIG
  /** Number of the newest socket; events that name an older one are ignored. */
  private socket = 0
  /** Attempts that failed since the session was last live. */
  private attempt = 0

  private bootId: string | null = null
  /** Version of the mirror; null when only a snapshot can tell. */
  private version: number | null = null
  /** Newest log entry handed on; null before the first range. */
  private logSeq: number | null = null

  private connectDeadline: number | null = null
  private retryAt: number | null = null
  private pingAt: number | null = null
  private pingSentAt: number | null = null
  private resyncDeadline: number | null = null
  private replayDeadline: number | null = null
  private replayGivenUp = false
  /** The subscription to commands goes out after `welcome`: before it the daemon may still want a token. Those to series wait until it is live. */
  private greeted = false

  /** How many panes want each endpoint. */
  private readonly subscriptions = new Map<number, number>()
  /** How many panes want all commands. */
  private commandFollowers = 0
  /** Ids of questions that were sent and not answered. */
  private readonly questions = new Set<string>()
  private effects: SessionEffect[] = []

  constructor(private readonly options: SessionOptions) {}

  /** Takes one event at monotonic time `now` (milliseconds) and says what to do about it, in order. */
  step(event: SessionEvent, now: number): readonly SessionEffect[] {
    this.effects = []
    this.take(event, now)
    return this.effects
  }

  /** When `wake` is due, or null if nothing is. */
  wakeAt(): number | null {
    const deadlines = [this.connectDeadline, this.retryAt, this.pingAt, this.pongDeadline(), this.resyncDeadline, this.replayDeadline]
    const due = deadlines.filter((at) => at !== null)
    return due.length === 0 ? null : Math.min(...due)
  }

  private take(event: SessionEvent, now: number): void {
    switch (event.kind) {
      case 'start':
        if (this.phase === 'idle') this.connect(now)
        return
      case 'stop':
        if (this.phase === 'idle') return
        this.hangUp(CLOSE_GOING_AWAY, 'page closed')
        this.attempt = 0
        this.enter('idle', null, null)
        return
      case 'retry-now':
        if (this.phase === 'waiting' || this.phase === 'stopped' || this.phase === 'locked') this.connect(now)
        return
      case 'socket-open':
        if (event.socket === this.socket && this.phase === 'connecting') this.opened(now)
        return
      case 'socket-message':
        if (event.socket === this.socket && (this.phase === 'opening' || this.phase === 'live')) this.message(event.text, now)
        return
      case 'socket-close':
        if (event.socket !== this.socket || !this.connected()) return
        if (event.code === CLOSED_UNAUTHORIZED) this.lock(event.reason)
        else this.lost(describeClose(event.code, event.reason), now)
        return
      case 'wake':
        return this.wake(now)
      case 'subscribe':
        return this.subscribe(event.endpointIds)
      case 'unsubscribe':
        return this.unsubscribe(event.endpointIds)
      case 'ask':
        return this.ask(event.id, event.question)
      case 'follow-commands':
        this.commandFollowers += 1
        if (this.commandFollowers === 1) this.sendCommandsSubscription('subscribe')
        return
      case 'unfollow-commands':
        this.commandFollowers -= 1
        if (this.commandFollowers === 0) this.sendCommandsSubscription('unsubscribe')
        return
      case 'configure':
        return this.configure(event.ws, now)
      case 'patch-refused':
        return this.resync(event.reason, now)
    }
  }

  private connected(): boolean {
    return this.phase === 'connecting' || this.phase === 'opening' || this.phase === 'live'
  }

  private connect(now: number): void {
    this.socket += 1
    this.retryAt = null
    this.connectDeadline = now + CONNECT_TIMEOUT_MS
    this.enter('connecting', null, null)
    this.emit({ kind: 'open', socket: this.socket, resume: this.resumePoint() })
  }

  private resumePoint(): string | null {
    if (this.bootId === null || this.version === null) return null
    return `${this.bootId}.${this.version}.${this.logSeq ?? 0}`
  }

  private opened(now: number): void {
    this.connectDeadline = now + SNAPSHOT_TIMEOUT_MS
    this.enter('opening', null, null)
    this.send({ type: 'hello', name: this.options.name, page: this.options.page })
    this.pingAt = now + this.ws.heartbeatIntervalMs
  }

  /** Forgets the current socket and plans the next attempt. */
  private lost(reason: string, now: number): void {
    this.dropConnection()
    if (!this.ws.reconnectEnabled) {
      this.enter('stopped', null, reason)
      return
    }
    this.attempt += 1
    const delay = backoffMs(this.attempt, this.ws, this.options.random)
    this.retryAt = now + delay
    this.enter('waiting', delay, reason)
  }

  /** Only somebody with a token can go on from here. */
  private lock(reason: string): void {
    this.hangUp(CLOSE_GOING_AWAY, reason)
    this.attempt = 0
    this.enter('locked', null, reason)
  }

  /** Closes from our side. The close event of this socket comes later and is then stale. */
  private abandon(code: number, reason: string, now: number): void {
    this.hangUp(code, reason)
    this.lost(reason, now)
  }

  private hangUp(code: number, reason: string): void {
    if (this.connected()) this.emit({ kind: 'close', socket: this.socket, code, reason })
    this.dropConnection()
  }

  /** What belonged to the connection ends with it. */
  private dropConnection(): void {
    this.connectDeadline = null
    this.retryAt = null
    this.pingAt = null
    this.pingSentAt = null
    this.resyncDeadline = null
    this.replayDeadline = null
    this.replayGivenUp = false
    this.greeted = false
    for (const id of this.questions) {
      const message = 'The connection broke before the daemon answered: it may have taken it or not.'
      this.emit({ kind: 'answer', id, answer: { ok: false, code: 'link-lost', message } })
    }
    this.questions.clear()
  }

  private wake(now: number): void {
    const pongDeadline = this.pongDeadline()
    if (isDue(this.retryAt, now)) return this.connect(now)
    if (isDue(this.connectDeadline, now)) return this.abandon(CLOSE_CONNECT_TIMEOUT, 'no answer in time', now)
    if (isDue(pongDeadline, now)) return this.abandon(CLOSE_HEARTBEAT, 'no pong in time', now)
    if (isDue(this.resyncDeadline, now)) return this.abandon(CLOSE_RESYNC_TIMEOUT, 'no snapshot in time', now)
    if (isDue(this.replayDeadline, now)) this.giveUpReplay()
    if (isDue(this.pingAt, now)) this.ping(now)
  }

  private ping(now: number): void {
    this.pingAt = null
    this.pingSentAt = now
    this.send({ type: 'ping' })
  }

  private pongDeadline(): number | null {
    return this.pingSentAt === null ? null : this.pingSentAt + this.ws.heartbeatTimeoutMs
  }

  private message(text: string, now: number): void {
    const decoded = decodeFrame(text)
    if (decoded.ok) this.frame(decoded.frame, now)
    else this.fault(decoded.fault, now)
  }

  private frame(frame: ServerFrame, now: number): void {
    switch (frame.type) {
      case 'welcome':
        return this.welcome(frame)
      case 'state.snapshot':
        return this.snapshot(frame)
      case 'state.patch':
        return this.patch(frame, now)
      case 'logs.history':
      case 'logs.append':
        return this.logs(frame, now)
      case 'telemetry':
        return this.emit({ kind: 'telemetry', frame })
      case 'pong':
        return this.pong(frame, now)
      case 'ack':
        return this.acknowledged(frame)
      case 'command_status':
        return this.emit({ kind: 'command', record: frame.record })
      case 'event':
      case 'alarm':
      case 'connected':
      case 'client_identified':
      case 'initial_execution_state':
      case 'block_started_enhanced':
      case 'block_executed_enhanced':
        return
      case 'error':
        return this.refused(frame)
    }
  }

  private acknowledged(frame: AckFrame): void {
    if (frame.id === COMMANDS_ID && this.commandFollowers > 0) this.emit({ kind: 'commands-behind' })
    this.answered(frame.id, { ok: true, commandId: frame.commandId ?? null })
  }

  /** A refusal that somebody waits for is theirs to show; any other is a fault of this page. */
  private refused(frame: ErrorFrame): void {
    if (this.answered(frame.id, { ok: false, code: frame.code, message: frame.message })) return
    this.emit({ kind: 'fault', reason: `the daemon answered ${frame.code}: ${frame.message}` })
    // It does not say of which channel in a form for programs; asking once too often does no harm.
    if (frame.code === 'missed' && this.commandFollowers > 0) this.emit({ kind: 'commands-behind' })
  }

  private answered(id: AckFrame['id'], answer: Answer): boolean {
    if (typeof id !== 'string' || !this.questions.delete(id)) return false
    this.emit({ kind: 'answer', id, answer })
    return true
  }

  private ask(id: string, question: Question): void {
    if (this.phase !== 'live') {
      const message = 'There is no connection to the daemon: nothing was sent.'
      return this.emit({ kind: 'answer', id, answer: { ok: false, code: 'not-connected', message } })
    }
    this.questions.add(id)
    this.send({ ...question, id })
  }

  private sendCommandsSubscription(type: 'subscribe' | 'unsubscribe'): void {
    if (!this.greeted || (this.phase !== 'opening' && this.phase !== 'live')) return
    this.send({ type, channel: 'commands', id: COMMANDS_ID })
  }

  private fault(fault: WireFault, now: number): void {
    this.emit({ kind: 'fault', reason: `the daemon sent ${describeFault(fault)}` })
    if (fault.kind !== 'bad-field') return
    if (fault.type === 'state.patch') this.resync('a patch could not be read', now)
    // Asking again would bring the same snapshot at once; the backoff keeps that from becoming a storm.
    else if (fault.type === 'state.snapshot') this.abandon(CLOSE_BAD_SNAPSHOT, 'a snapshot could not be read', now)
  }

  private welcome(frame: WelcomeFrame): void {
    this.emit({ kind: 'welcome', frame })
    // A page proves who it is with a session's cookie, which goes with the next upgrade.
    if (frame.authRequired) return this.lock('the daemon asks for a token')
    this.adoptBoot(frame.bootId)
    this.greeted = true
    if (this.commandFollowers > 0) this.sendCommandsSubscription('subscribe')
    if (frame.resumed && this.version !== null) this.goLive()
  }

  private adoptBoot(bootId: string): void {
    if (this.bootId === bootId) return
    const first = this.bootId === null
    this.bootId = bootId
    this.version = null
    this.logSeq = null
    this.replayDeadline = null
    if (!first) this.emit({ kind: 'new-boot', bootId })
  }

  private snapshot(frame: SnapshotFrame): void {
    this.adoptBoot(frame.bootId)
    this.version = frame.stateVersion
    this.resyncDeadline = null
    this.emit({ kind: 'snapshot', frame })
    this.goLive()
  }

  private goLive(): void {
    this.connectDeadline = null
    this.attempt = 0
    if (this.phase === 'live') return
    this.enter('live', null, null)
    // Not before: a daemon that has just started knows of the series that are in its snapshot, and perhaps of none when it says welcome.
    this.sendSubscriptions('subscribe', [...this.subscriptions.keys()])
  }

  private patch(frame: PatchFrame, now: number): void {
    // A snapshot is on its way and will hold what this patch says.
    if (this.resyncDeadline !== null) return
    if (this.version === null) return this.resync('a patch came before the snapshot', now)
    if (frame.toVersion <= this.version) return
    if (frame.fromVersion !== this.version) {
      return this.resync(`patch from version ${frame.fromVersion} but the mirror is at ${this.version}`, now)
    }
    this.version = frame.toVersion
    this.emit({ kind: 'patch', frame })
  }

  /** Asks for a snapshot, once until it arrives. */
  private resync(reason: string, now: number): void {
    this.version = null
    if (this.resyncDeadline !== null || (this.phase !== 'live' && this.phase !== 'opening')) return
    this.resyncDeadline = now + SNAPSHOT_TIMEOUT_MS
    this.emit({ kind: 'resync', reason })
    this.send({ type: 'state.resync' })
  }

  private logs(frame: LogsFrame, now: number): void {
    const last = this.logSeq
    const coveredFrom = Math.min(frame.fromSeq, frame.missed?.fromSeq ?? frame.fromSeq)
    const gap = last !== null && coveredFrom > last + 1
    if (gap && !this.takesGap(frame)) {
      // One question is enough: the ranges that arrive until it is answered are part of the answer.
      if (this.replayDeadline !== null) return
      this.replayDeadline = now + REPLAY_TIMEOUT_MS
      return this.send({ type: 'logs.replay', sinceSeq: last })
    }
    if (last === null || frame.toSeq > last) {
      this.logSeq = frame.toSeq
      this.replayDeadline = null
      this.replayGivenUp = false
    }
    const missed = gap ? { fromSeq: last + 1, toSeq: coveredFrom - 1 } : (frame.missed ?? null)
    this.emit({ kind: 'logs', frame, missed })
  }

  /** Whether a range is taken although entries before it are missing: nobody has them any more. */
  private takesGap(frame: LogsFrame): boolean {
    return this.replayGivenUp || (this.replayDeadline !== null && frame.type === 'logs.history')
  }

  /** The next range is taken as it is, and what lies before it is shown as missed. */
  private giveUpReplay(): void {
    this.replayDeadline = null
    this.replayGivenUp = true
    this.emit({ kind: 'fault', reason: 'log entries were asked for again and did not come' })
  }

  private pong(frame: PongFrame, now: number): void {
    if (this.pingSentAt === null) return
    this.emit({ kind: 'pong', latencyMs: now - this.pingSentAt, serverMs: frame.ts ?? null })
    this.pingSentAt = null
    this.pingAt = now + this.ws.heartbeatIntervalMs
  }

  private subscribe(endpointIds: readonly number[]): void {
    const fresh = [...new Set(endpointIds)].filter((id) => !this.subscriptions.has(id))
    for (const id of endpointIds) this.subscriptions.set(id, (this.subscriptions.get(id) ?? 0) + 1)
    this.sendSubscriptions('subscribe', fresh)
  }

  private unsubscribe(endpointIds: readonly number[]): void {
    const gone: number[] = []
    for (const id of endpointIds) {
      const holders = this.subscriptions.get(id)
      if (holders === undefined) continue
      if (holders > 1) this.subscriptions.set(id, holders - 1)
      else {
        this.subscriptions.delete(id)
        gone.push(id)
      }
    }
    this.sendSubscriptions('unsubscribe', gone)
  }

  private sendSubscriptions(type: 'subscribe' | 'unsubscribe', endpointIds: readonly number[]): void {
    if (this.phase !== 'live') return
    for (let from = 0; from < endpointIds.length; from += IDS_PER_MESSAGE) {
      this.send({ type, channel: 'telemetry', endpointIds: endpointIds.slice(from, from + IDS_PER_MESSAGE) })
    }
  }

  private configure(ws: WsConfig, now: number): void {
    this.ws = ws
    if (this.pingAt !== null) this.pingAt = Math.min(this.pingAt, now + ws.heartbeatIntervalMs)
  }

  private send(message: ClientMessage): void {
    this.emit({ kind: 'send', socket: this.socket, message })
  }

  private enter(phase: SessionPhase, retryInMs: number | null, reason: string | null): void {
    this.phase = phase
    this.emit({ kind: 'phase', phase, attempt: this.attempt, retryInMs, reason })
  }

  private emit(effect: SessionEffect): void {
    this.effects.push(effect)
  }
}

function isDue(at: number | null, now: number): boolean {
  return at !== null && at <= now
}

function describeClose(code: number, reason: string): string {
  if (reason !== '') return `${reason} (${code})`
  if (code === 1006) return 'the connection broke'
  if (code === 1001) return 'the daemon is going away'
  return `closed with code ${code}`
}
