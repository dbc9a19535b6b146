// A test bench in plain JavaScript: a host made of plain code, with scripted ports and a clock that the test owns. What a call asks for takes effect
// when the call returns, timers run out in their order, what undoes a hold is written however its lease ends, and a swap gives the successor the
// bytes from its predecessor's consumed offset on, muted.

import { HostError } from './context.js'
import { manifestRecord } from './manifest.js'
import { Runtime } from './runtime.js'

const BEGIN_NS = 1_000_000_000n
const BEGIN_MS = 1_767_225_600_000
// As the wit files say.
const MOST_LEASES = 16
const MOST_RELEASE_BYTES = 1024
const LONGEST_LEASE_MS = 600_000

/** A driver on a bench, started from nothing with every port that its manifest wants; the devices of those in `detached` are away. */
export class Bench {
  /** Its slice; null before the first publication. */
  slice = null
  /** The operations of the last publication. */
  lastOperations = []
  /** Its log lines, phases, and answers to commands: `[what, id, ...]`. */
  logs = []
  phases = []
  replies = []
  timers = new Map()
  /** The leases that are open, oldest first, by id: `{ port, release, endsNs, holder }`. */
  leases = new Map()
  nowNs = BEGIN_NS
  #class
  #settings
  #ports = new Map()
  #series
  #commands = []
  #ever = 0
  #effects = []
  /** Leases that the driver takes for open. They differ from those that are only while a successor catches up. */
  #known = new Set()
  /** The leases that the call takes (true) or gives back: `[id, isTaken]`. */
  #leased = []
  /** What it left for another port than that for which it takes the same lease once more. */
  #left = []
  #muted = false
  #runtime

  constructor(driverClass, settings = {}, detached = []) {
    this.#class = driverClass
    this.#settings = settings
    const manifest = manifestRecord(driverClass)
    this.#series = manifest.series.map(({ name }) => [name, []])
    for (const { name } of manifest.ports) {
      this.#ports.set(name, { attached: !detached.includes(name), next: 0n, written: '', waiting: [], chunks: [] })
    }
    this.#start('cold')
  }

  feed(port, text) {
    const data = typeof text === 'string' ? new TextEncoder().encode(text) : text
    const state = this.#ports.get(port)
    const bytes = { port, offset: state.next, receivedNs: this.nowNs, receivedMs: this.#wallMs(), data, replayed: false }
    state.next += BigInt(data.length)
    state.chunks.push(bytes)
    this.handle({ tag: 'bytes', val: bytes })
  }

  /** Lets time pass; timers and leases run out on the way, each at its time. At the same time leases come first. */
  advanceMs(milliseconds) {
    const end = this.nowNs + BigInt(milliseconds) * 1_000_000n
    for (;;) {
      const leases = [...this.leases].map(([id, { endsNs }]) => [id, endsNs, true])
      const [due] = [...leases, ...this.timers].sort(([, a], [, b]) => Number(a - b))
      if (!due || due[1] > end) break
      const [id, atNs, isLease] = due
      if (atNs > this.nowNs) this.nowNs = atNs
      if (isLease) {
        this.endLease(id, 'maximum')
      } else {
        this.timers.delete(id)
        this.handle({ tag: 'timer', val: id })
      }
    }
    this.nowNs = end
  }

  /** Lets pass as much time as a held-back publication waits. */
  settle() {
    this.advanceMs(50)
  }

  /** The device of a port goes away, and the leases on it end: their bytes go out when it is back. */
  lose(port, reason) {
    this.#ports.get(port).attached = false
    const lost = [...this.leases].filter(([, lease]) => lease.port === port)
    this.handle({ tag: 'port-lost', val: { port, reason } })
    for (const [id] of lost) if (this.#known.has(id)) this.endLease(id, 'port-lost')
  }

  attach(port) {
    const state = this.#ports.get(port)
    state.attached = true
    state.written += state.waiting.splice(0).join('')
    this.handle({ tag: 'port-attached', val: { port, offset: state.next, identity: { path: `/dev/bench-${port}`, attributes: [] } } })
  }

  /** So many bytes of a port are lost. */
  overrun(port, count) {
    const state = this.#ports.get(port)
    const from = state.next
    state.next += BigInt(count)
    this.handle({ tag: 'overrun', val: { port, from, to: state.next, reason: 'bench' } })
  }

  changeSettings(settings) {
    this.#settings = settings
    this.handle({ tag: 'settings', val: JSON.stringify(settings) })
  }

  /** Stops the driver: its last words go out, and what undoes its holds. */
  stop(reason) {
    this.#runtime.stop(reason)
    this.#commit()
    for (const id of [...this.leases.keys()]) this.#giveBack(id)
  }

  /** A command; the answer is its id. */
  command(name, args = {}) {
    const id = `command-${++this.#ever}`
    const command = { id, name, arguments: JSON.stringify(args), actor: 'bench', attributes: [] }
    this.#commands.push(command)
    this.handle({ tag: 'command', val: command })
    return id
  }

  cancel(id, reason = 'bench') {
    this.handle({ tag: 'command-cancelled', val: { id, reason } })
  }

  /** A lease that is open ends; the host writes its bytes first. */
  endLease(id, reason) {
    if (!this.#known.delete(id)) throw new Error(`no lease ${id} is open`)
    this.#giveBack(id)
    this.handle({ tag: 'lease-ended', val: { id, reason } })
  }

  /** A checkpoint, as the host takes one at rest. */
  checkpoint() {
    return { snapshot: this.#runtime.snapshot(), leases: [...this.#known] }
  }

  /** Replaces the driver with a new instance of itself, which goes on from where it is, or from what another version left. */
  swap(checkpoint = this.checkpoint()) {
    this.#goOn('swap', checkpoint)
  }

  /** Drops the driver, as after a trap, which ends its leases, and starts it from a checkpoint. Of what came since then only bytes come again. */
  restart(checkpoint) {
    for (const id of [...this.leases.keys()]) this.#giveBack(id)
    this.#goOn('restart', checkpoint)
  }

  #goOn(reason, { snapshot, leases }) {
    this.#known = new Set(leases)
    this.#start(reason, snapshot)
    this.#muted = true
    for (const { port, consumed } of snapshot.consumed) {
      for (const chunk of this.#ports.get(port).chunks) {
        const done = Number(consumed - chunk.offset)
        if (done < chunk.data.length) {
          const [offset, data] = done > 0 ? [consumed, chunk.data.slice(done)] : [chunk.offset, chunk.data]
          this.handle({ tag: 'bytes', val: { ...chunk, offset, data, replayed: true } })
        }
      }
    }
    this.#muted = false
    // What the driver does not know nobody would end; of what it takes for open and is over, it is told.
    for (const id of [...this.leases.keys()]) if (!this.#known.has(id)) this.#giveBack(id)
    const over = [...this.#known].filter((id) => !this.leases.has(id))
    for (const id of over) if (this.#known.has(id)) this.endLease(id, 'driver-failed')
  }

  handle(event) {
    try {
      this.#runtime.handle(event)
    } catch (error) {
      // A call that throws has had no effect.
      this.#effects = []
      this.#leased = []
      throw error
    }
    this.#commit()
  }

  /** What it has written to a port since this was asked last. */
  written(port) {
    const state = this.#ports.get(port)
    const { written } = state
    state.written = ''
    return written
  }

  samples(series) {
    return this.#series.find(([name]) => name === series)[1].map(({ value }) => value)
  }

  /** How a command ended, if it has: `[tag, val]`. */
  outcome(id) {
    const reply = this.replies.find(([what, of]) => what === 'completed' && of === id)
    return reply && [reply[2].tag, reply[2].val?.val ?? reply[2].val]
  }

  #start(reason, snapshot) {
    const ports = [...this.#ports].map(([name, { attached, next }]) => {
      const mark = snapshot?.consumed.find(({ port }) => port === name)
      return { name, attached, offset: mark ? mark.consumed : next }
    })
    this.#runtime = new Runtime(this.#host(), this.#class, {
      device: 'bench',
      reason,
      settings: JSON.stringify(this.#settings),
      ports,
      snapshot,
      commands: this.#commands,
      timers: [...this.timers.keys()],
      leases: [...this.#known],
    })
    this.#commit()
  }

  #commit() {
    const effects = this.#effects
    this.#effects = []
    this.#known = this.#knows()
    this.#leased = []
    for (const { does, isSlice } of effects) if (isSlice || !this.#muted) does()
    for (const lease of this.#left.splice(0)) this.#undo(lease)
  }

  /** The leases that the driver takes for open after what the call has asked for so far. */
  #knows() {
    const known = new Set(this.#known)
    for (const [id, isTaken] of this.#leased) {
      if (isTaken) known.add(id)
      else known.delete(id)
    }
    return known
  }

  /** Ends a lease, if it is open, and writes what undoes the hold, or keeps it until the device is back. */
  #giveBack(id) {
    const lease = this.leases.get(id)
    this.leases.delete(id)
    if (lease) this.#undo(lease)
  }

  #undo({ port, release }) {
    const state = this.#ports.get(port)
    const text = new TextDecoder().decode(release)
    if (state.attached) state.written += text
    else state.waiting.push(text)
  }

  #wallMs() {
    return BEGIN_MS + Number(this.nowNs - BEGIN_NS) / 1e6
  }

  #host() {
    const later = (does, isSlice = false) => this.#effects.push({ does, isSlice })
    const inFlight = (id) => {
      if (!this.#commands.some((command) => command.id === id)) throw new HostError('unknown-command')
    }
    return {
      write: (name, data) => {
        const port = this.#ports.get(name)
        if (!port?.attached) throw new HostError(port ? 'not-attached' : 'not-granted')
        later(() => (port.written += new TextDecoder().decode(data)))
      },
      acquireLease: (id, name, release, maximumMs, holder) => {
        const port = this.#ports.get(name)
        if (!port) throw new HostError('not-granted')
        const count = release.length
        if (count < 1 || count > MOST_RELEASE_BYTES) {
          throw new HostError('invalid', `1 to ${MOST_RELEASE_BYTES} bytes undo a hold, not ${count}`)
        }
        if (maximumMs < 1 || maximumMs > LONGEST_LEASE_MS) {
          throw new HostError('invalid', `a lease lasts 1 to ${LONGEST_LEASE_MS} ms, not ${maximumMs}`)
        }
        if (!port.attached) throw new HostError('not-attached')
        const known = this.#knows()
        const waiting = [...this.#ports.values()].reduce((sum, port) => sum + port.waiting.length, 0)
        if (!known.has(id) && known.size + waiting >= MOST_LEASES) throw new HostError('full')
        const endsNs = this.nowNs + BigInt(maximumMs) * 1_000_000n
        this.#leased.push([id, true])
        later(() => {
          const before = this.leases.get(id)
          this.leases.delete(id)
          this.leases.set(id, { port: name, release, endsNs, holder })
          if (before && before.port !== name) this.#left.push(before)
        })
      },
      releaseLease: (id) => {
        this.#leased.push([id, false])
        later(() => this.#giveBack(id))
      },
      updateSlice: (operations) => {
        later(() => {
          this.lastOperations = operations
          operations.forEach((operation) => this.#apply(operation))
        }, true)
      },
      push: (samples) => later(() => samples.forEach((sample) => this.#series[sample.series][1].push(sample))),
      setTimer: (id, afterMs) => {
        const at = this.nowNs + BigInt(afterMs) * 1_000_000n
        later(() => this.timers.set(id, at))
      },
      cancelTimer: (id) => later(() => this.timers.delete(id)),
      acknowledge: (id) => (inFlight(id), later(() => this.replies.push(['acknowledged', id]))),
      progress: (id, message, share) => (inFlight(id), later(() => this.replies.push(['progress', id, message, share]))),
      complete: (id, outcome) => {
        inFlight(id)
        later(() => {
          this.#commands = this.#commands.filter((command) => command.id !== id)
          this.replies.push(['completed', id, outcome])
        })
      },
      log: (level, message) => this.logs.push([level, message]),
      phase: (name) => later(() => this.phases.push(name)),
      monotonicNs: () => this.nowNs,
      wallMs: () => this.#wallMs(),
    }
  }

  #apply({ tag, val }) {
    const path = (tag === 'remove' ? val : val.path).val
    if (path === '') {
      this.slice = JSON.parse(val.value.val)
      return
    }
    const names = path.slice(1).split('/').map((name) => name.replaceAll('~1', '/').replaceAll('~0', '~'))
    const last = names.pop()
    const parent = names.reduce((object, name) => object[name], this.slice)
    if (tag === 'remove') delete parent[last]
    else parent[last] = plain(val.value)
  }
}

function plain({ tag, val }) {
  if (tag === 'null') return null
  if (tag === 'json') return JSON.parse(val)
  return tag === 'integer' ? Number(val) : val
}
