// Driver of the Watts Up? PRO power meter, the same as `plugins/power-meter` in Rust: the same slice, series and snapshot, so that each goes on
// where the other was. `protocol.js` reads and writes the meter's packets; this is the glue: when to ask what, what to publish, and what to do when
// the meter is silent.
//
//   away -> identifying -> asking -> streaming <-> silent     attached; version record; first row; no row in time, asked again
//                |  ^         |                      |
//                v  +---------+----------------------+        no row although asked twice
//             waiting                                         three questions without an answer: again after five seconds
//
// Rows are taken at every stage, because a meter that streamed before may still have some on the line. Loss of the line leads to `away` from
// everywhere.

import { Driver, HostError, PacketFramer, Refusal, Snapshot } from './autobench-sdk/index.js'
import * as protocol from './protocol.js'

const PORT = 'main'
/** The one timer. It may come early or late: what is due is decided by `deadlineNs`. */
const TICK = 1
/** The meter answers within this time, or not at all. */
const REPLY_MS = 2000
const QUESTIONS = 3
/** How long to leave a meter alone that does not answer. */
const WAIT_MS = 5000
/** No meter is called silent sooner than this, however short its interval. */
const SILENCE_MS = 3000
/** In how many intervals at least one row has to come. */
const SILENCE_INTERVALS = 3
/** The longest interval that the meter is asked for. */
const LONGEST_S = 3600

/** The series, and in the same order what their quantities are called in a reading. */
const SERIES = [
  { name: 'watts', unit: 'W', description: 'Real power' },
  { name: 'volts', unit: 'V', description: 'Voltage' },
  { name: 'amps', unit: 'A', description: 'Current' },
  { name: 'powerFactor', unit: '1', description: 'Power factor' },
  { name: 'frequency', unit: 'Hz', description: 'Line frequency' },
  { name: 'energy', unit: 'Wh', kind: 'total', description: "Energy since the meter's memory was cleared" },
  { name: 'apparentPower', unit: 'VA', description: 'Apparent power' },
]
const QUANTITIES = ['watts', 'volts', 'amps', 'powerFactor', 'frequencyHz', 'energyWh', 'apparentVa']

const PHASES = {
  disconnected: 'The line is away.',
  connecting: 'The meter is being identified or asked for rows.',
  streaming: 'Rows are coming.',
  error: 'The meter does not answer.',
}

const text = (description) => ({ type: 'string', description })
const count = (description) => ({ type: 'integer', minimum: 0, description })
const time = () => ({ type: ['integer', 'null'], minimum: 0, description: 'Milliseconds since 1970.' })
const quantity = (description) => ({ type: 'number', description })

const SETTINGS_SCHEMA = {
  type: 'object',
  properties: { 'interval-s': { type: 'integer', minimum: 1, maximum: LONGEST_S, default: 1, description: 'Seconds between two rows.' } },
  additionalProperties: false,
}

const SLICE_SCHEMA = {
  type: 'object',
  properties: {
    phase: {
      description: 'How the device is.',
      oneOf: Object.entries(PHASES).map(([name, description]) => ({ type: 'string', const: name, description })),
    },
    message: text('What there is to say, for a person.'),
    stats: {
      description: 'Counts since the driver started without a predecessor.',
      type: 'object',
      properties: {
        totalSamples: count('Rows that were read.'),
        badRows: count('Rows that were lost in damage.'),
        bytesReceived: count('Bytes that came from the line.'),
        lastSampleAt: time(),
        lastErrorAt: time(),
      },
      required: ['totalSamples', 'badRows', 'bytesReceived'],
    },
    lastSample: {
      description: 'The newest row. What the meter does not log is not there.',
      type: ['object', 'null'],
      properties: {
        ts: text('When its last byte was received.'),
        watts: quantity('Real power.'),
        volts: quantity('Voltage.'),
        amps: quantity('Current.'),
        frequencyHz: quantity('Line frequency.'),
        powerFactor: quantity('From 0 to 1.'),
        energyWh: quantity("Energy since the meter's memory was cleared."),
      },
      required: ['ts'],
    },
  },
  required: ['phase', 'stats'],
}

export class PowerMeter extends Driver {
  /** Where the conversation with the meter stands. */
  #stage = 'away'
  /** How many times it was asked who it is, without an answer. */
  #questions = 0
  /** When the stage has lasted too long. */
  #deadlineNs = 0n
  /** The interval that the meter was last asked for. */
  #intervalS
  /** Number of the first byte that is not yet in `bytesReceived`. Bytes that come again after a swap are not counted again. */
  #countedTo
  /** Whether the last row was bad, so that a noisy line is logged once. */
  #noisy = false
  #framer = new PacketFramer(protocol.START, protocol.END, protocol.LIMIT_BYTES, protocol.IGNORED)

  static manifest() {
    return {
      name: 'power-meter',
      version: '0.1.0',
      description: 'Watts Up? PRO power meter.',
      ports: [
        {
          name: PORT,
          description: "The meter's USB port, an FTDI serial adapter inside the case.",
          line: { baudRate: 115_200 },
          usb: [[0x0403, 0x6001]],
          handshake: { send: protocol.IDENTIFY, expect: '#v,-,8,[0-9]', timeoutMs: 2000 },
        },
      ],
      series: SERIES,
      settingsSchema: SETTINGS_SCHEMA,
      sliceSchema: SLICE_SCHEMA,
      memoryBytes: 48 << 20,
      sliceBytes: 4 << 10,
    }
  }

  static slice() {
    const stats = { totalSamples: 0, badRows: 0, bytesReceived: 0, lastSampleAt: null, lastErrorAt: null }
    return { phase: 'disconnected', stats, lastSample: null }
  }

  start(cx, { settings, ports, memory }) {
    const intervalS = intervalOf(settings)
    if (intervalS === undefined) throw new Refusal('invalid-settings', `interval-s is a number of seconds from 1 to ${LONGEST_S}`)
    const port = ports.find(({ name }) => name === PORT)
    if (!port) throw new Refusal('missing-port', PORT)
    this.#intervalS = intervalS
    this.#countedTo = port.offset
    if (memory !== null) this.#remember(memory)
    this.#goOn(cx, port.attached, intervalS)
  }

  #remember(memory) {
    try {
      this.#stage = String(memory.stage)
      this.#questions = Number(memory.questions)
      this.#deadlineNs = BigInt(memory.deadline_ns)
      this.#intervalS = Number(memory.interval_s)
      this.#countedTo = BigInt(memory.counted_to)
      this.#noisy = Boolean(memory.noisy)
    } catch (error) {
      throw new Refusal('unknown-snapshot', `its memory has another form: ${error.message}`)
    }
  }

  snapshot() {
    const memory = {
      stage: this.#stage,
      questions: this.#questions,
      deadline_ns: Number(this.#deadlineNs),
      interval_s: this.#intervalS,
      counted_to: Number(this.#countedTo),
      noisy: this.#noisy,
    }
    return new Snapshot(memory, { [PORT]: this.#framer.held })
  }

  onBytes(cx, event) {
    this.#countBytes(cx, event.offset, event.data.length)
    let newest
    for (const [kind, text] of this.#framer.feed(event.data)) {
      let message
      if (kind === 'packet') message = protocol.readPacket(text)
      else if (kind === 'headless') message = protocol.readHeadless(text)
      else message = protocol.readEndless(text)
      this.#take(cx, message, event)
      newest = message.reading ?? newest
    }
    // Of several rows in one call only the last is ever seen in the slice.
    if (newest) {
      const { apparentVa, ...shown } = newest
      cx.edit().lastSample = { ts: new Date(event.receivedMs).toISOString(), ...shown }
    }
  }

  onAttached(cx, { offset }) {
    this.#framer.reset()
    this.#skipTo(offset)
    this.#connect(cx)
  }

  onLost(cx, { reason }) {
    this.#framer.reset()
    this.#leave(cx, reason)
  }

  onOverrun(cx, { from, to, reason }) {
    this.#framer.reset()
    this.#skipTo(to)
    this.#noteError(cx)
    cx.warn(`${to - from} bytes are missing: ${reason}`)
  }

  onTimer(cx, id) {
    if (id === TICK) this.#tick(cx)
  }

  onSettings(cx, settings) {
    const intervalS = intervalOf(settings)
    if (intervalS !== undefined) this.#changeInterval(cx, intervalS)
    else cx.warn(`interval-s is a number of seconds from 1 to ${LONGEST_S}; it stays as it was`)
  }

  stop(cx) {
    if (this.#stage !== 'away') send(cx, protocol.logInternally(this.#intervalS))
  }

  // --- the conversation ---

  /** Takes up what the memory says. A meter that is being talked to is not spoken to: it would answer twice. */
  #goOn(cx, attached, intervalS) {
    if (this.#stage === 'away') {
      this.#intervalS = intervalS
      if (attached) this.#connect(cx)
      else cx.phase('disconnected')
    } else if (!attached) {
      this.#leave(cx, 'it was away when the driver started')
    } else {
      cx.phase(cx.slice.phase)
      if (!cx.timerRuns(TICK)) this.#arm(cx)
      this.#changeInterval(cx, intervalS)
    }
  }

  #connect(cx) {
    changePhase(cx, 'connecting')
    this.#questions = 0
    this.#identify(cx)
  }

  #leave(cx, reason) {
    cx.cancelTimer(TICK)
    this.#stage = 'away'
    this.#noteError(cx)
    changePhase(cx, 'disconnected', `the line is away: ${reason}`)
  }

  #identify(cx) {
    this.#questions += 1
    send(cx, protocol.ABORT + protocol.IDENTIFY)
    this.#enter(cx, 'identifying', REPLY_MS)
  }

  #ask(cx, reserved = '_') {
    send(cx, protocol.logExternally(this.#intervalS, reserved))
    this.#enter(cx, reserved === '_' ? 'asking' : 'askingAgain', REPLY_MS + this.#intervalS * 1000)
  }

  #changeInterval(cx, intervalS) {
    if (this.#intervalS === intervalS) return
    this.#intervalS = intervalS
    // At the other stages the new interval goes out when the meter is asked for rows.
    if (['asking', 'askingAgain', 'streaming', 'silent'].includes(this.#stage)) this.#ask(cx)
  }

  /** Deals with a message that was complete with these bytes. */
  #take(cx, message, event) {
    if (message.kind === 'version') this.#takeVersion(cx, message)
    if (message.kind === 'bad' || message.damagedBefore) this.#takeBadRow(cx, event)
    if (message.kind === 'row') this.#takeRow(cx, message.reading, event)
  }

  #takeVersion(cx, { model, hardware, firmware }) {
    // An answer that comes after its time is still one.
    if (this.#stage !== 'identifying' && this.#stage !== 'waiting') return
    cx.info(`Watts Up? ${model}, hardware ${hardware}, firmware ${firmware}`)
    changePhase(cx, 'connecting')
    this.#ask(cx)
  }

  #takeRow(cx, reading, { receivedNs, receivedMs }) {
    this.#noisy = false
    QUANTITIES.forEach((name, series) => cx.sample(series, receivedMs, reading[name]))
    const state = cx.edit()
    state.stats.totalSamples += 1
    state.stats.lastSampleAt = Math.trunc(receivedMs)
    if (this.#stage === 'streaming') {
      // The timer stays as it is: when it comes it finds the deadline moved.
      this.#deadlineNs = receivedNs + nanoseconds(this.#silenceMs())
    } else if (this.#stage !== 'identifying' && this.#stage !== 'away') {
      // What was on the line before the meter was stopped says nothing about whether it listens.
      if (state.phase !== 'streaming') cx.info(`streaming, a row every ${this.#intervalS} s`)
      changePhase(cx, 'streaming')
      this.#enter(cx, 'streaming', this.#silenceMs())
    }
  }

  #takeBadRow(cx, { receivedMs }) {
    const { stats } = cx.edit()
    stats.badRows += 1
    stats.lastErrorAt = Math.trunc(receivedMs)
    if (!this.#noisy) cx.debug('a damaged row is left out; further ones are only counted until a good one comes')
    this.#noisy = true
  }

  #tick(cx) {
    if (this.#stage === 'away') return
    if (cx.monotonicNs() < this.#deadlineNs) {
      this.#arm(cx)
    } else if (this.#stage === 'identifying' && this.#questions < QUESTIONS) {
      this.#identify(cx)
    } else if (this.#stage === 'identifying') {
      this.#noteError(cx)
      if (cx.slice.phase !== 'error') {
        cx.warn('the meter does not answer; asking again every few seconds')
        changePhase(cx, 'error', 'the meter does not answer; check that it has power and the baud rate of its model')
      }
      this.#enter(cx, 'waiting', WAIT_MS)
    } else if (this.#stage === 'waiting') {
      this.#questions = 0
      this.#identify(cx)
    } else if (this.#stage === 'asking') {
      this.#ask(cx, '0')
    } else if (this.#stage === 'askingAgain') {
      this.#startOver(cx, 'the meter answers, but sends no rows; identifying it again')
    } else if (this.#stage === 'streaming') {
      this.#noteError(cx)
      const message = `no row for ${Math.trunc(this.#silenceMs() / 1000)} s; asked for them again`
      cx.warn(message)
      cx.editNow().message = message
      send(cx, protocol.logExternally(this.#intervalS, '_'))
      this.#enter(cx, 'silent', this.#silenceMs())
    } else {
      this.#startOver(cx, 'the meter is silent; identifying it again')
    }
  }

  #startOver(cx, message) {
    this.#noteError(cx)
    cx.warn(message)
    changePhase(cx, 'connecting', message)
    this.#questions = 0
    this.#identify(cx)
  }

  #enter(cx, stage, afterMs) {
    this.#stage = stage
    this.#deadlineNs = cx.monotonicNs() + nanoseconds(afterMs)
    this.#arm(cx)
  }

  #arm(cx) {
    const remainingMs = Math.ceil(Number(this.#deadlineNs - cx.monotonicNs()) / 1e6)
    try {
      cx.setTimer(TICK, Math.min(Math.max(remainingMs, 0), 2 ** 32 - 1))
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      cx.warn(`no timer, so a silent meter will not be noticed: ${error.message}`)
    }
  }

  #countBytes(cx, offset, length) {
    const end = offset + BigInt(length)
    const from = later(this.#countedTo, offset)
    if (end > from) cx.edit().stats.bytesReceived += Number(end - from)
    this.#skipTo(end)
  }

  /** Bytes below this are counted, or will not come and were not received. */
  #skipTo(offset) {
    this.#countedTo = later(this.#countedTo, offset)
  }

  #noteError(cx) {
    cx.edit().stats.lastErrorAt = Math.trunc(cx.wallMs())
  }

  #silenceMs() {
    return Math.max(SILENCE_MS, SILENCE_INTERVALS * this.#intervalS * 1000)
  }
}

const later = (a, b) => (a > b ? a : b)

const nanoseconds = (milliseconds) => BigInt(milliseconds) * 1_000_000n

/** The interval that the settings ask for, if it is one. */
function intervalOf({ 'interval-s': intervalS = 1 }) {
  return Number.isInteger(intervalS) && intervalS >= 1 && intervalS <= LONGEST_S ? intervalS : undefined
}

function changePhase(cx, phase, message) {
  cx.phase(phase)
  Object.assign(cx.editNow(), { phase, message })
}

/** A write that the line does not take is not repeated here: the timer asks again. */
function send(cx, text) {
  try {
    cx.write(PORT, text)
  } catch (error) {
    if (!(error instanceof HostError)) throw error
    cx.warn(`the meter could not be asked: ${error.message}`)
  }
}

export const driver = PowerMeter
