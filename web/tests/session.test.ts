// The session's laws, with events and time made by the test: order, gaps, stale sockets, heartbeat, backoff, subscriptions.

import { describe, expect, it } from 'vitest'
import { backoffMs } from '../src/socket/backoff'
import { Session } from '../src/socket/session'
import type { SessionEffect, SessionEvent } from '../src/socket/session'
import { DEFAULT_WS_CONFIG } from '../src/wire/slices'
import type { ClientMessage } from '../src/wire/types'
import { SEED, rounds, seeded } from './support/random'
import { stateJson } from './support/state'

const BOOT = '7f3a91c04be25d68'

/** A session with a clock, a line of effects, and words for what the daemon says. */
class Bench {
  now = 0
  socket = 0
  readonly log: SessionEffect[] = []
  readonly session: Session

  constructor(random: () => number = () => 0.5) {
    this.session = new Session({ name: 'test', page: '/', random })
  }

  step(event: SessionEvent): readonly SessionEffect[] {
    const effects = this.session.step(event, this.now)
    this.log.push(...effects)
    for (const effect of effects) if (effect.kind === 'open') this.socket = effect.socket
    return effects
  }

  says(message: object, socket = this.socket): readonly SessionEffect[] {
    return this.step({ kind: 'socket-message', socket, text: JSON.stringify(message) })
  }

  welcome(bootId = BOOT, resumed = false) {
    return this.says({
      type: 'welcome',
      protocol: 'autobench.v1',
      serverTime: '2026-01-01T00:00:00.000Z',
      serverVersion: '0.1.0',
      bootId,
      clientId: 'c-1',
      limits: {},
      features: [],
      resumed,
    })
  }

  snapshot(version: number, bootId = BOOT) {
    return this.says({ type: 'state.snapshot', bootId, stateVersion: version, data: stateJson(version) })
  }

  patch(fromVersion: number, toVersion: number) {
    return this.says({ type: 'state.patch', fromVersion, toVersion, patch: [{ op: 'replace', path: '/version', value: toVersion }] })
  }

  logs(type: 'logs.history' | 'logs.append', fromSeq: number, toSeq: number, missed?: { fromSeq: number; toSeq: number }) {
    return this.says({ type, fromSeq, toSeq, entries: [], ...(missed ? { missed } : {}) })
  }

  /** Starts, opens, and brings the session to `live` at a version. */
  live(version = 10): this {
    this.step({ kind: 'start' })
    this.step({ kind: 'socket-open', socket: this.socket })
    this.welcome()
    this.snapshot(version)
    return this
  }

  close(code = 1006, socket = this.socket) {
    return this.step({ kind: 'socket-close', socket, code, reason: '' })
  }

  /** Lets time pass, waking the session exactly when it asked for it. */
  wait(ms: number): readonly SessionEffect[] {
    const end = this.now + ms
    const effects: SessionEffect[] = []
    for (let at = this.session.wakeAt(); at !== null && at <= end; at = this.session.wakeAt()) {
      this.now = Math.max(this.now, at)
      effects.push(...this.step({ kind: 'wake' }))
    }
    this.now = end
    return effects
  }
}

function sent(effects: readonly SessionEffect[]): ClientMessage[] {
  return effects.flatMap((effect) => (effect.kind === 'send' ? [effect.message] : []))
}

function kinds(effects: readonly SessionEffect[]): string[] {
  return effects.map((effect) => (effect.kind === 'phase' ? `phase ${effect.phase}` : effect.kind))
}

describe('connecting', () => {
  it('says hello when the socket opens, and is live with the first snapshot', () => {
    const bench = new Bench()
    expect(kinds(bench.step({ kind: 'start' }))).toEqual(['phase connecting', 'open'])
    expect(sent(bench.step({ kind: 'socket-open', socket: 1 }))).toEqual([{ type: 'hello', name: 'test', page: '/' }])
    expect(kinds(bench.welcome())).toEqual(['welcome'])
    expect(kinds(bench.snapshot(10))).toEqual(['snapshot', 'phase live'])
  })

  it('hands patches on in order', () => {
    const bench = new Bench().live(10)
    const effects = [...bench.patch(10, 11), ...bench.patch(11, 15), ...bench.patch(15, 16)]
    expect(kinds(effects)).toEqual(['patch', 'patch', 'patch'])
  })

  it('gives up on a socket that does not open, or opens and stays silent', () => {
    const never = new Bench()
    never.step({ kind: 'start' })
    expect(kinds(never.wait(10_000))).toEqual(['close', 'phase waiting'])
    const silent = new Bench()
    silent.step({ kind: 'start' })
    silent.step({ kind: 'socket-open', socket: 1 })
    expect(kinds(silent.wait(15_000))).toContain('phase waiting')
  })

  it('stops for good when the page goes, and starts again when it comes back', () => {
    const bench = new Bench().live()
    expect(kinds(bench.step({ kind: 'stop' }))).toEqual(['close', 'phase idle'])
    expect(bench.session.wakeAt()).toBeNull()
    expect(bench.close()).toEqual([])
    expect(kinds(bench.step({ kind: 'start' }))).toEqual(['phase connecting', 'open'])
  })
})

describe('coming back', () => {
  function cameBack(): Bench {
    const bench = new Bench().live(10)
    bench.logs('logs.history', 1, 40)
    bench.patch(10, 11)
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    return bench
  }

  it('goes on from its own version and its own log entry when the daemon resumes', () => {
    const bench = cameBack()
    expect(bench.log.findLast((effect) => effect.kind === 'open')).toMatchObject({ resume: `${BOOT}.11.40` })
    expect(kinds(bench.welcome(BOOT, true))).toEqual(['welcome', 'phase live'])
    expect(kinds(bench.logs('logs.history', 41, 44))).toEqual(['logs'])
    expect(kinds(bench.patch(11, 15))).toEqual(['patch'])
    expect(kinds(bench.logs('logs.append', 45, 45))).toEqual(['logs'])
    expect(sent(bench.log).filter((message) => message.type === 'state.resync' || message.type === 'logs.replay')).toEqual([])
    expect(kinds(bench.log)).not.toContain('new-boot')
  })

  it('names what the log has overwritten meanwhile', () => {
    const bench = cameBack()
    bench.welcome(BOOT, true)
    const effects = bench.logs('logs.history', 41, 60, { fromSeq: 41, toSeq: 50 })
    expect(effects).toMatchObject([{ kind: 'logs', missed: { fromSeq: 41, toSeq: 50 } }])
  })

  it('takes the snapshot that a daemon sends which has moved on too far', () => {
    const bench = cameBack()
    expect(kinds(bench.welcome(BOOT, true))).toEqual(['welcome', 'phase live'])
    expect(kinds(bench.snapshot(99))).toEqual(['snapshot'])
    expect(kinds(bench.patch(99, 100))).toEqual(['patch'])
  })

  it('subscribes again, since the daemon remembers nothing of that', () => {
    const bench = new Bench().live(10)
    bench.step({ kind: 'subscribe', endpointIds: [3] })
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    expect(sent(bench.welcome(BOOT, true))).toEqual([{ type: 'subscribe', channel: 'telemetry', endpointIds: [3] }])
  })
})

describe('a gap in versions', () => {
  it('asks for exactly one snapshot, however many patches follow', () => {
    const bench = new Bench().live(10)
    const effects = [...bench.patch(12, 13), ...bench.patch(13, 14), ...bench.patch(20, 21)]
    expect(sent(effects)).toEqual([{ type: 'state.resync' }])
    expect(kinds(effects)).not.toContain('patch')
    expect(kinds(bench.snapshot(21))).toEqual(['snapshot'])
    expect(kinds(bench.patch(21, 22))).toEqual(['patch'])
  })

  it('a second gap asks again', () => {
    const bench = new Bench().live(10)
    bench.patch(12, 13)
    bench.snapshot(13)
    expect(sent(bench.patch(14, 15))).toEqual([{ type: 'state.resync' }])
  })

  it('a patch that overlaps what is there is a gap, one that is wholly old is dropped', () => {
    const bench = new Bench().live(10)
    expect(bench.patch(8, 10)).toEqual([])
    expect(sent(bench.patch(9, 12))).toEqual([{ type: 'state.resync' }])
  })

  it('a patch that the mirror refuses, or that cannot be read, asks for one too', () => {
    const refused = new Bench().live(10)
    refused.patch(10, 11)
    expect(sent(refused.step({ kind: 'patch-refused', reason: 'no member' }))).toEqual([{ type: 'state.resync' }])
    expect(refused.step({ kind: 'patch-refused', reason: 'no member' })).toEqual([])
    const unreadable = new Bench().live(10)
    expect(sent(unreadable.says({ type: 'state.patch', fromVersion: 10, toVersion: 11, patch: [{ op: 'spoil' }] }))).toEqual([{ type: 'state.resync' }])
  })

  it('connects anew when the snapshot does not come', () => {
    const bench = new Bench().live(10)
    bench.step({ kind: 'configure', ws: { ...DEFAULT_WS_CONFIG, heartbeatIntervalMs: 60_000 } })
    bench.patch(12, 13)
    bench.now += 100
    expect(kinds(bench.wait(15_000))).toContain('close')
  })

  it('an unreadable snapshot closes the socket and does not ask in a circle', () => {
    const bench = new Bench().live(10)
    bench.patch(12, 13)
    const effects = bench.says({ type: 'state.snapshot', bootId: BOOT, stateVersion: 1, data: null })
    expect(kinds(effects)).toEqual(['fault', 'close', 'phase waiting'])
    expect(sent(effects)).toEqual([])
  })

  it(`random orders of patches never reach the mirror with a gap (seed ${SEED})`, () => {
    const random = seeded(SEED)
    for (let round = 0; round < rounds(300, 20_000); round += 1) {
      const bench = new Bench().live(10)
      let mirror = 10
      let outstanding = 0
      for (let i = 0; i < 30; i += 1) {
        const from = mirror + Math.floor(random() * 3) - (random() < 0.2 ? 1 : 0)
        const effects = random() < 0.15 ? bench.snapshot((mirror += 5)) : bench.patch(from, from + 1 + Math.floor(random() * 2))
        for (const effect of effects) {
          if (effect.kind === 'snapshot') outstanding = 0
          if (effect.kind === 'patch') {
            expect(effect.frame.fromVersion).toBe(mirror)
            mirror = effect.frame.toVersion
          }
          if (effect.kind === 'send' && effect.message.type === 'state.resync') outstanding += 1
          expect(outstanding).toBeLessThanOrEqual(1)
        }
      }
    }
  })
})

describe('another run of the daemon', () => {
  it('forgets version and log position, and takes patches only after a snapshot', () => {
    const bench = new Bench().live(10)
    bench.logs('logs.history', 1, 40)
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    expect(kinds(bench.welcome('00ff00ff00ff00ff'))).toEqual(['welcome', 'new-boot'])
    expect(sent(bench.patch(10, 11))).toEqual([{ type: 'state.resync' }])
    expect(kinds(bench.snapshot(3, '00ff00ff00ff00ff'))).toEqual(['snapshot', 'phase live'])
    expect(kinds(bench.logs('logs.history', 1, 2))).toEqual(['logs'])
  })

  it('the first boot is not a new one', () => {
    const bench = new Bench()
    bench.step({ kind: 'start' })
    bench.step({ kind: 'socket-open', socket: 1 })
    expect(kinds(bench.welcome())).toEqual(['welcome'])
  })
})

describe('resuming', () => {
  it('asks to go on where the mirror stands, and is live without a snapshot if it may', () => {
    const bench = new Bench().live(10)
    bench.patch(10, 11)
    bench.logs('logs.history', 1, 40)
    bench.close()
    const open = bench.wait(1_000).find((effect) => effect.kind === 'open')
    expect(open).toMatchObject({ resume: `${BOOT}.11.40` })
    bench.step({ kind: 'socket-open', socket: bench.socket })
    expect(kinds(bench.welcome(BOOT, true))).toEqual(['welcome', 'phase live'])
    expect(kinds(bench.patch(11, 12))).toEqual(['patch'])
  })

  it('does not ask for it while a snapshot is outstanding', () => {
    const bench = new Bench().live(10)
    bench.patch(12, 13)
    bench.close()
    expect(bench.wait(1_000).find((effect) => effect.kind === 'open')).toMatchObject({ resume: null })
  })
})

describe('a stale socket', () => {
  it('is not heard any more', () => {
    const bench = new Bench().live(10)
    const old = bench.socket
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    expect(bench.socket).not.toBe(old)
    expect(bench.says({ type: 'state.patch', fromVersion: 10, toVersion: 11, patch: [] }, old)).toEqual([])
    expect(bench.close(1006, old)).toEqual([])
    expect(bench.step({ kind: 'socket-open', socket: old })).toEqual([])
  })

  it('its close after our own close changes nothing', () => {
    const bench = new Bench().live(10)
    bench.wait(15_000)
    const waiting = bench.log.filter((effect) => effect.kind === 'phase' && effect.phase === 'waiting').length
    expect(waiting).toBe(1)
    expect(bench.close()).toEqual([])
  })
})

describe('the heartbeat', () => {
  it('pings after the interval, measures the answer, and pings again', () => {
    const bench = new Bench().live()
    expect(sent(bench.wait(9_999))).toEqual([])
    expect(sent(bench.wait(1))).toEqual([{ type: 'ping' }])
    bench.now += 12
    expect(bench.says({ type: 'pong', ts: 1767225600000 })).toEqual([{ kind: 'pong', latencyMs: 12, serverMs: 1767225600000 }])
    expect(sent(bench.wait(9_999))).toEqual([])
    expect(sent(bench.wait(1))).toEqual([{ type: 'ping' }])
  })

  it('closes the socket when no pong comes in time', () => {
    const bench = new Bench().live()
    bench.wait(10_000)
    expect(bench.wait(4_999)).toEqual([])
    expect(kinds(bench.wait(1))).toEqual(['close', 'phase waiting'])
  })

  it('follows the daemon’s configuration at once', () => {
    const bench = new Bench().live()
    bench.step({ kind: 'configure', ws: { ...DEFAULT_WS_CONFIG, heartbeatIntervalMs: 500, heartbeatTimeoutMs: 200 } })
    expect(sent(bench.wait(500))).toEqual([{ type: 'ping' }])
    expect(kinds(bench.wait(200))).toEqual(['close', 'phase waiting'])
  })
})

describe('the backoff', () => {
  it(`stays within its bounds and spreads by the jitter (seed ${SEED})`, () => {
    const random = seeded(SEED)
    for (let attempt = 1; attempt <= 12; attempt += 1) {
      const base = Math.min(15_000, 1_000 * 1.8 ** (attempt - 1))
      const delays = Array.from({ length: 200 }, () => backoffMs(attempt, DEFAULT_WS_CONFIG, random))
      expect(Math.min(...delays)).toBeGreaterThanOrEqual(Math.floor(base * 0.8))
      expect(Math.max(...delays)).toBeLessThanOrEqual(Math.ceil(base * 1.2))
      expect(new Set(delays).size).toBeGreaterThan(50)
    }
  })

  it('grows with each failure and starts anew after a live connection', () => {
    const bench = new Bench()
    bench.step({ kind: 'start' })
    const delays: number[] = []
    for (let i = 0; i < 7; i += 1) {
      const phase = bench.close().find((effect) => effect.kind === 'phase')
      delays.push(phase?.retryInMs ?? -1)
      bench.wait(phase?.retryInMs ?? 0)
    }
    expect(delays).toEqual([1_000, 1_800, 3_240, 5_832, 10_498, 15_000, 15_000])
    bench.step({ kind: 'socket-open', socket: bench.socket })
    bench.welcome()
    bench.snapshot(10)
    expect(bench.close().find((effect) => effect.kind === 'phase')).toMatchObject({ retryInMs: 1_000, attempt: 1 })
  })

  it('a server that accepts and drops does not reset it', () => {
    const bench = new Bench()
    bench.step({ kind: 'start' })
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    expect(bench.close().find((effect) => effect.kind === 'phase')).toMatchObject({ retryInMs: 1_800 })
  })

  it('ends early when somebody asks, and there is none when the daemon forbids it', () => {
    const bench = new Bench().live()
    bench.close()
    expect(kinds(bench.step({ kind: 'retry-now' }))).toEqual(['phase connecting', 'open'])
    expect(bench.step({ kind: 'retry-now' })).toEqual([])
    const forbidden = new Bench().live()
    forbidden.step({ kind: 'configure', ws: { ...DEFAULT_WS_CONFIG, reconnectEnabled: false } })
    expect(kinds(forbidden.close())).toEqual(['phase stopped'])
    expect(forbidden.session.wakeAt()).toBeNull()
    expect(kinds(forbidden.step({ kind: 'retry-now' }))).toEqual(['phase connecting', 'open'])
  })
})

describe('log ranges', () => {
  it('a gap asks for a replay once, and the replay and what follows are taken', () => {
    const bench = new Bench().live()
    bench.logs('logs.history', 1, 20)
    expect(sent(bench.logs('logs.append', 25, 25))).toEqual([{ type: 'logs.replay', sinceSeq: 20 }])
    expect(bench.logs('logs.append', 26, 26)).toEqual([])
    expect(bench.logs('logs.history', 21, 26)).toMatchObject([{ kind: 'logs', missed: null }])
    expect(kinds(bench.logs('logs.append', 27, 28))).toEqual(['logs'])
  })

  it('what the ring has overwritten is no gap but missed', () => {
    const bench = new Bench().live()
    bench.logs('logs.history', 1, 20)
    const effects = bench.logs('logs.append', 90, 95, { fromSeq: 21, toSeq: 89 })
    expect(effects).toMatchObject([{ kind: 'logs', missed: { fromSeq: 21, toSeq: 89 } }])
  })

  it('a replay that leaves the gap open is all there is', () => {
    const bench = new Bench().live()
    bench.logs('logs.history', 1, 20)
    bench.logs('logs.append', 90, 90)
    expect(bench.logs('logs.history', 50, 90)).toMatchObject([{ kind: 'logs', missed: { fromSeq: 21, toSeq: 49 } }])
    expect(kinds(bench.logs('logs.append', 91, 91))).toEqual(['logs'])
  })

  it('a replay that never comes is given up, and the log goes on', () => {
    const bench = new Bench().live()
    bench.logs('logs.history', 1, 20)
    bench.logs('logs.append', 25, 25)
    expect(kinds(bench.wait(5_000))).toContain('fault')
    expect(bench.logs('logs.append', 26, 26)).toMatchObject([{ kind: 'logs', missed: { fromSeq: 21, toSeq: 25 } }])
  })

  it('the history after a reconnect closes up or asks for what lies between', () => {
    for (const [from, replay] of [
      [15, []],
      [21, []],
      [22, [{ type: 'logs.replay', sinceSeq: 20 }]],
    ] as const) {
      const bench = new Bench().live()
      bench.logs('logs.history', 1, 20)
      bench.close()
      bench.wait(1_000)
      bench.step({ kind: 'socket-open', socket: bench.socket })
      bench.welcome()
      bench.snapshot(30)
      expect(sent(bench.logs('logs.history', from, 40))).toEqual(replay)
    }
  })
})

describe('subscriptions', () => {
  const subscribe = (...endpointIds: number[]): SessionEvent => ({ kind: 'subscribe', endpointIds })
  const unsubscribe = (...endpointIds: number[]): SessionEvent => ({ kind: 'unsubscribe', endpointIds })

  it('are sent when asked for, and all of them again after a reconnect', () => {
    const bench = new Bench().live()
    expect(sent(bench.step(subscribe(1, 2)))).toEqual([{ type: 'subscribe', channel: 'telemetry', endpointIds: [1, 2] }])
    bench.step(subscribe(3))
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    // A daemon that has started anew knows the series of its snapshot, which need not be there yet when it says welcome.
    expect(sent(bench.welcome())).toEqual([])
    expect(sent(bench.snapshot(1))).toEqual([{ type: 'subscribe', channel: 'telemetry', endpointIds: [1, 2, 3] }])
    expect(sent(bench.snapshot(2))).toEqual([])
  })

  it('made while offline wait for the connection', () => {
    const bench = new Bench()
    expect(bench.step(subscribe(7))).toEqual([])
    bench.step({ kind: 'start' })
    bench.step({ kind: 'socket-open', socket: 1 })
    bench.welcome()
    expect(sent(bench.step(subscribe(8)))).toEqual([])
    expect(sent(bench.snapshot(1))).toEqual([{ type: 'subscribe', channel: 'telemetry', endpointIds: [7, 8] }])
  })

  it('of which some are refused are made again on the next connection', () => {
    const bench = new Bench().live()
    bench.step(subscribe(1, 2))
    expect(kinds(bench.says({ type: 'error', code: 'unknown-endpoint', message: 'there is no telemetry series 2' }))).toEqual(['fault'])
    bench.close()
    bench.wait(1_000)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    bench.welcome('0000000000000002')
    const again = bench.snapshot(1, '0000000000000002')
    expect(sent(again)).toEqual([{ type: 'subscribe', channel: 'telemetry', endpointIds: [1, 2] }])
  })

  it('to more series than one message may name go out in several', () => {
    const bench = new Bench().live()
    const ids = Array.from({ length: 1025 }, (_, n) => n + 1)
    const messages = sent(bench.step(subscribe(...ids))).map((message) => ('endpointIds' in message ? message.endpointIds?.length : null))
    expect(messages).toEqual([1024, 1])
  })

  it('of two panes are one for the daemon, and end with the last of them', () => {
    const bench = new Bench().live()
    bench.step(subscribe(1))
    expect(bench.step(subscribe(1))).toEqual([])
    expect(bench.step(unsubscribe(1))).toEqual([])
    expect(sent(bench.step(unsubscribe(1)))).toEqual([{ type: 'unsubscribe', channel: 'telemetry', endpointIds: [1] }])
    expect(bench.step(unsubscribe(1))).toEqual([])
  })
})

describe('what the daemon says otherwise', () => {
  it('errors and unknown messages are reported and change nothing', () => {
    const bench = new Bench().live(10)
    expect(kinds(bench.says({ type: 'error', code: 'rate-limited', message: 'slow down' }))).toEqual(['fault'])
    expect(kinds(bench.says({ type: 'weather' }))).toEqual(['fault'])
    expect(bench.says({ type: 'ack', ok: true })).toEqual([])
    expect(kinds(bench.patch(10, 11))).toEqual(['patch'])
  })
})

describe('a daemon that asks for a token', () => {
  function asked(): Bench {
    const bench = new Bench()
    bench.step({ kind: 'start' })
    bench.step({ kind: 'socket-open', socket: bench.socket })
    bench.says({
      type: 'welcome',
      protocol: 'autobench.v1',
      serverTime: '2026-01-01T00:00:00.000Z',
      serverVersion: '0.1.0',
      bootId: BOOT,
      clientId: 'c-1',
      limits: {},
      features: [],
      resumed: false,
      authRequired: true,
    })
    return bench
  }

  it('locks the page, which hangs up and does not try again by itself', () => {
    const bench = asked()
    expect(bench.log.at(-1)).toMatchObject({ kind: 'phase', phase: 'locked', retryInMs: null })
    expect(bench.log.some((effect) => effect.kind === 'close' && effect.socket === bench.socket)).toBe(true)
    expect(bench.session.wakeAt()).toBeNull()
    const opened = bench.log.filter((effect) => effect.kind === 'open').length
    bench.step({ kind: 'socket-close', socket: bench.socket, code: 1000, reason: '' })
    bench.now += 3_600_000
    bench.step({ kind: 'wake' })
    expect(bench.log.filter((effect) => effect.kind === 'open').length).toBe(opened)
  })

  it('is connected to again once there is a session', () => {
    const bench = asked()
    const before = bench.socket
    bench.step({ kind: 'retry-now' })
    expect(bench.socket).toBe(before + 1)
    bench.step({ kind: 'socket-open', socket: bench.socket })
    bench.welcome()
    expect(bench.snapshot(3).at(-1)).toMatchObject({ kind: 'phase', phase: 'live' })
  })

  it('locks a live page whose token was taken away', () => {
    const bench = new Bench().live()
    bench.step({ kind: 'socket-close', socket: bench.socket, code: 4401, reason: 'the token is no longer what it was' })
    expect(bench.log.at(-1)).toMatchObject({ kind: 'phase', phase: 'locked' })
    expect(bench.session.wakeAt()).toBeNull()
  })
})
