// Driver of a relay board: it closes and opens a relay by command, and in pulses that it times itself.
//
// The driver writes lines of a word and the command's id; the board answers with lines that name the same id:
//
//   ack ID               the device has taken it
//   at ID SHARE TEXT     how far it is
//   done ID VALUE        done; the relay now has this value, true or false
//   error ID TEXT        failed
//   blocked ID TEXT      blocked
//
// `on`, `off` and the dangerous `reset` wait for the board. `pulse` writes `on ID`, and after its time `off ID`, whatever the board says. A command
// that is cancelled writes `cancel ID`.

import { Driver, HostError, LineFramer, Refusal, Snapshot } from './autobench-sdk/index.js'

const PORT = 'main'
const LINE_LIMIT_BYTES = 512

const boolean = (description) => ({ type: 'boolean', description })

export class Relay extends Driver {
  static manifest() {
    return {
      name: 'relay',
      version: '1.0.0',
      description: 'Closes and opens a relay.',
      ports: [{ name: PORT, description: 'Lines of text.' }],
      commands: [
        { name: 'on', description: 'Closes the relay.' },
        { name: 'off', description: 'Opens the relay.' },
        {
          name: 'pulse',
          description: 'Closes the relay for a time.',
          arguments: {
            type: 'object',
            properties: { ms: { type: 'integer', minimum: 1, maximum: 60_000, description: 'How long.' } },
            required: ['ms'],
            additionalProperties: false,
          },
        },
        { name: 'reset', description: 'Resets the board.', dangerous: true },
      ],
      sliceSchema: {
        type: 'object',
        properties: {
          attached: boolean('Whether the board is there.'),
          on: { type: ['boolean', 'null'], description: 'Whether the relay is closed, as the board said last.' },
          commands: { type: 'integer', minimum: 0, description: 'Commands that it has been given.' },
        },
        required: ['attached', 'commands'],
      },
      memoryBytes: 48 << 20,
    }
  }

  static slice() {
    return { attached: false, on: null, commands: 0 }
  }

  start(cx, { ports, commands, memory }) {
    const port = ports.find(({ name }) => name === PORT)
    if (!port) throw new Refusal('missing-port', PORT)
    this.framer = new LineFramer(LINE_LIMIT_BYTES)
    this.attached = port.attached
    // What ended meanwhile without the driver is nothing to wait for. `timer` is that of a pulse, null where the board's answer is waited for.
    this.open = (memory?.open ?? []).filter(({ id }) => commands.some((command) => command.id === id))
    cx.edit().attached = this.attached
    cx.phase(this.attached ? 'ready' : 'disconnected')
  }

  snapshot() {
    return new Snapshot({ attached: this.attached, open: this.open }, { [PORT]: this.framer.held })
  }

  onCommand(cx, { id, name, arguments: args }) {
    cx.edit().commands += 1
    if (!this.attached) return cx.block(id, 'the board is away')
    if (name === 'pulse') return this.#pulse(cx, id, args.ms)
    if (this.#send(cx, name, id)) this.open.push({ id, timer: null })
  }

  #pulse(cx, id, ms) {
    let timer = 1
    while (cx.timerRuns(timer)) timer += 1
    if (!this.#send(cx, 'on', id)) return
    cx.setTimer(timer, ms)
    cx.acknowledge(id)
    cx.progress(id, `closed for ${ms} ms`, 0)
    this.open.push({ id, timer })
  }

  onTimer(cx, timer) {
    const pulse = this.#take((open) => open.timer === timer)
    if (pulse && this.#send(cx, 'off', pulse.id)) cx.succeed(pulse.id, false)
  }

  onCancel(cx, { id }) {
    const open = this.#take((one) => one.id === id)
    if (!open) return
    if (open.timer !== null) cx.cancelTimer(open.timer)
    if (this.#send(cx, 'cancel', id)) cx.giveUp(id)
  }

  onBytes(cx, { data }) {
    for (const line of this.framer.feed(data)) this.#hear(cx, line.trim())
  }

  #hear(cx, line) {
    const [word, id, ...rest] = line.split(' ')
    const open = this.open.find((one) => one.id === id)
    if (!open) return
    if (word === 'ack') cx.acknowledge(id)
    if (word === 'at') cx.progress(id, rest.slice(1).join(' '), Number(rest[0]))
    // A pulse ends by its timer.
    if (open.timer !== null || !['done', 'error', 'blocked'].includes(word)) return
    this.#take((one) => one === open)
    if (word === 'done') {
      const on = rest[0] === 'true'
      cx.editNow().on = on
      cx.succeed(id, on)
    } else if (word === 'error') cx.fail(id, rest.join(' '))
    else cx.block(id, rest.join(' '))
  }

  onAttached(cx) {
    this.#attach(cx, true)
  }

  onLost(cx) {
    for (const { id, timer } of this.open.splice(0)) {
      if (timer !== null) cx.cancelTimer(timer)
      cx.fail(id, 'the board went away')
    }
    this.#attach(cx, false)
  }

  onOverrun() {
    this.framer.reset()
  }

  #attach(cx, attached) {
    this.framer.reset()
    this.attached = attached
    cx.editNow().attached = attached
    cx.phase(attached ? 'ready' : 'disconnected')
  }

  #take(wanted) {
    const index = this.open.findIndex(wanted)
    return index < 0 ? undefined : this.open.splice(index, 1)[0]
  }

  /** Whether the line took it; where it did not, the command has failed. */
  #send(cx, word, id) {
    try {
      cx.write(PORT, `${word} ${id}\n`)
      return true
    } catch (error) {
      if (!(error instanceof HostError)) throw error
      cx.fail(id, `the line takes nothing: ${error.message}`)
      return false
    }
  }
}

export const driver = Relay
