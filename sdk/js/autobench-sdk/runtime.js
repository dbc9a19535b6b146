// Between the world's exports and a driver: parses what comes, keeps account of bytes and timers, publishes what changed.

import { Context, HostError, TRAILING_TIMER, valueOf } from './context.js'
import { Refusal } from './driver.js'

/** At most 20 publications a second: faster than anybody looks. */
const SPACING_MS = 50

const encoder = new TextEncoder()
const decoder = new TextDecoder()

/** A running driver. */
export class Runtime {
  #class
  #cx
  #desk
  #host
  #next

  constructor(host, driverClass, configuration) {
    this.#class = driverClass
    this.#host = host
    const saved = configuration.snapshot === undefined ? null : read(driverClass, configuration.snapshot)
    this.#desk = new Desk(host, saved ? saved.slice : driverClass.slice(), configuration.timers)
    this.#cx = new Context(host, this.#desk)
    this.#next = new Map(configuration.ports.map((port) => [port.name, port.offset]))
    this.driver = new driverClass()
    this.driver.start(this.#cx, {
      device: configuration.device,
      reason: configuration.reason,
      settings: JSON.parse(configuration.settings),
      ports: configuration.ports,
      slice: configuration.slice,
      commands: configuration.commands.map(command),
      timers: [...configuration.timers],
      leases: [...configuration.leases],
      memory: saved ? saved.driver : null,
    })
    this.#desk.settle(false)
  }

  handle({ tag, val }) {
    const [driver, cx] = [this.driver, this.#cx]
    switch (tag) {
      case 'bytes':
        this.#next.set(val.port, val.offset + BigInt(val.data.length))
        driver.onBytes(cx, val)
        break
      case 'port-attached':
        this.#next.set(val.port, val.offset)
        driver.onAttached(cx, val)
        break
      case 'overrun':
        this.#next.set(val.port, val.to)
        driver.onOverrun(cx, val)
        break
      case 'timer':
        this.#desk.timers.delete(val)
        if (val === TRAILING_TIMER) this.#desk.urgent = true
        else driver.onTimer(cx, val)
        break
      case 'command':
        driver.onCommand(cx, command(val))
        break
      case 'settings':
        driver.onSettings(cx, JSON.parse(val))
        break
      case 'other':
        // The operations of that call are gone; the next publication mends it.
        if (val.kind === 'update-refused') this.#desk.whole = true
        driver.onOther(cx, val)
        break
      default:
        driver[DIRECT[tag]]?.(cx, val)
    }
    this.#desk.settle(tag === 'bytes' && val.replayed)
  }

  snapshot() {
    const { memory, rereading } = this.driver.snapshot()
    const consumed = [...this.#next].map(([port, next]) => ({ port, consumed: next - BigInt(rereading[port] ?? 0) }))
    const data = encoder.encode(JSON.stringify({ driver: memory, slice: this.#desk.slice }))
    return { schemaVersion: this.#class.snapshotVersion, data, consumed }
  }

  stop(reason) {
    this.driver.stop(this.#cx, reason)
    // There is no later, so what a timer would have published goes out now.
    this.#desk.urgent = true
    this.#desk.settle(false)
  }
}

const DIRECT = {
  'port-lost': 'onLost',
  'line-error': 'onLineError',
  'lines-changed': 'onLinesChanged',
  'transmit-drained': 'onTransmitDrained',
  'command-cancelled': 'onCancel',
  'lease-ended': 'onLeaseEnded',
  observed: 'onObserved',
}

function command(raw) {
  return { ...raw, arguments: JSON.parse(raw.arguments) }
}

function read(driverClass, snapshot) {
  if (snapshot.schemaVersion !== driverClass.snapshotVersion) {
    const text = `its version is ${snapshot.schemaVersion}, this driver takes version ${driverClass.snapshotVersion}`
    throw new Refusal('unknown-snapshot', text)
  }
  try {
    const { slice, driver } = JSON.parse(decoder.decode(snapshot.data))
    if (slice !== undefined && driver !== undefined) return { slice, driver }
  } catch (error) {
    throw new Refusal('unknown-snapshot', String(error))
  }
  throw new Refusal('unknown-snapshot', 'it has no slice or no driver')
}

/** What the SDK keeps for a driver between calls. */
class Desk {
  touched = false
  urgent = false
  /** Whether the next publication is the whole slice, because the host's may be anything. */
  whole = true
  samples = []
  #host
  #published
  #publishedNs
  #refused

  constructor(host, slice, timers) {
    this.#host = host
    this.slice = slice
    this.timers = new Set(timers)
  }

  /** Ends a call. In a replay everything is due, because the host drops timers that are set in one. */
  settle(replayed) {
    if (this.samples.length > 0) {
      this.#asked('samples were refused', () => this.#host.push(this.samples))
      this.samples = []
    }
    if (this.touched || this.urgent || this.#publishedNs === undefined) this.#publish(replayed)
  }

  #publish(replayed) {
    const nowNs = this.#host.monotonicNs()
    const sinceMs = this.#publishedNs === undefined ? SPACING_MS : Number((nowNs - this.#publishedNs) / 1_000_000n)
    const due = this.urgent || replayed || sinceMs >= SPACING_MS
    if (!due && this.timers.has(TRAILING_TIMER)) return
    const operations = []
    if (this.whole) operations.push(set('', this.slice))
    else difference(this.#published, this.slice, '', operations)
    if (operations.length === 0) {
      this.touched = this.urgent = false
      return
    }
    if (!due) {
      try {
        this.#host.setTimer(TRAILING_TIMER, Math.max(SPACING_MS - sinceMs, 1))
        this.timers.add(TRAILING_TIMER)
        return
      } catch (error) {
        // Without a timer there is nobody to publish later, so it goes out now.
        if (!(error instanceof HostError)) throw error
      }
    }
    this.touched = this.urgent = false
    this.#publishedNs = nowNs
    if (this.#asked('the slice was refused', () => this.#host.updateSlice(operations))) {
      this.#published = JSON.parse(JSON.stringify(this.slice))
      this.whole = false
    }
  }

  /** Whether the host took it. A refusal that stays is logged once and not twenty times a second. */
  #asked(refused, ask) {
    try {
      ask()
      this.#refused = undefined
      return true
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      const text = `${refused}: ${error.message}`
      if (this.#refused !== text) this.#host.log('error', text)
      this.#refused = text
      return false
    }
  }
}

function set(path, value) {
  return { tag: 'set', val: { path: { tag: 'text', val: path }, value: valueOf(value) } }
}

/** What makes one object into the other. A member that is undefined is not there; arrays are replaced as a whole. */
function difference(before, after, path, operations) {
  for (const name of Object.keys(before)) {
    if (after[name] === undefined) operations.push({ tag: 'remove', val: { tag: 'text', val: `${path}/${escaped(name)}` } })
  }
  for (const [name, value] of Object.entries(after)) {
    const old = before[name]
    if (value === undefined || Object.is(old, value)) continue
    const place = `${path}/${escaped(name)}`
    if (isObject(old) && isObject(value)) difference(old, value, place, operations)
    else if (JSON.stringify(old) !== JSON.stringify(value)) operations.push(set(place, value))
  }
}

function isObject(value) {
  return typeof value === 'object' && value !== null && !Array.isArray(value)
}

function escaped(name) {
  return name.replaceAll('~', '~0').replaceAll('/', '~1')
}
