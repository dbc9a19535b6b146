// What a driver may touch while it is being called.

/** The host did not do what it was asked. `code` is the case's name in `wit/`, such as `full` or `not-granted`. */
export class HostError extends Error {
  constructor(code, detail) {
    super(detail === undefined ? code : `${code}: ${detail}`)
    this.code = code
  }
}

/** The timer that publishes what was held back. Drivers choose small numbers. */
export const TRAILING_TIMER = 0xffff_ffff

/** Bytes as they are, and a text as UTF-8. */
export function bytesOf(data) {
  return typeof data === 'string' ? new TextEncoder().encode(data) : data
}

/** Plain JavaScript as a value of the world, without JSON text where none is needed. */
export function valueOf(plain) {
  if (plain === null || plain === undefined) return { tag: 'null' }
  if (typeof plain === 'boolean') return { tag: 'boolean', val: plain }
  if (typeof plain === 'string') return { tag: 'text', val: plain }
  if (typeof plain === 'number') {
    if (Number.isSafeInteger(plain)) return { tag: 'integer', val: BigInt(plain) }
    // JSON has no infinities and no NaN; such a value is not known.
    return Number.isFinite(plain) ? { tag: 'float', val: plain } : { tag: 'null' }
  }
  return { tag: 'json', val: JSON.stringify(plain) }
}

/**
 * Everything that a driver asks for takes effect when the call returns, all at once; a call that throws has had no effect but its log lines. What
 * the host refuses is thrown as `HostError`.
 */
export class Context {
  #host
  #desk

  constructor(host, desk) {
    this.#host = host
    this.#desk = desk
  }

  /** The slice as it is; to change it, take `edit()`. */
  get slice() {
    return this.#desk.slice
  }

  /** The slice, to be changed in place, and published when nothing was for 50 ms. */
  edit() {
    this.#desk.touched = true
    return this.#desk.slice
  }

  /** As `edit`, published at the end of this call. For changes of phase, which somebody waits for. */
  editNow() {
    this.#desk.touched = this.#desk.urgent = true
    return this.#desk.slice
  }

  /** Pushes a sample of a series, by its position in the manifest. A value that is not finite is no measurement and is left out. */
  sample(series, timestampMs, value) {
    if (Number.isFinite(value) && Number.isFinite(timestampMs)) this.#desk.samples.push({ series, timestampMs, value })
  }

  write(port, data) {
    this.#host.write(port, bytesOf(data))
  }
  /**
   * Leaves with the host what undoes a hold, to be written after `maximumMs` at the latest, or takes a lease that is open once more, with these bytes
   * and this time. `holder` is the id of a command that is a hold: the lease then ends as well when the client that sent it lets go or is gone. Where it
   * is refused, the hold must not begin.
   */
  acquireLease(id, port, release, maximumMs, holder) {
    this.#host.acquireLease(id, port, bytesOf(release), maximumMs, holder)
  }
  /** Ends a lease; its bytes go out in their place among what this call writes. One that is not open is no error. */
  releaseLease(id) {
    this.#host.releaseLease(id)
  }
  phase(name) {
    this.#host.phase(name)
  }
  failed(reason) {
    this.#host.failed(reason)
  }
  log(level, message) {
    this.#host.log(level, message)
  }
  debug(message) {
    this.log('debug', message)
  }
  info(message) {
    this.log('info', message)
  }
  warn(message) {
    this.log('warn', message)
  }
  error(message) {
    this.log('error', message)
  }
  raiseAlarm(key, severity, message) {
    return this.#host.raiseAlarm(key, severity, message)
  }
  clearAlarm(key) {
    this.#host.clearAlarm(key)
  }
  publish(level, kind, message, context = {}) {
    this.#host.publish(level, kind, message, JSON.stringify(context))
  }
  readSlice(name) {
    return JSON.parse(this.#host.readSlice(name))
  }

  /** The monotonic clock in nanoseconds, a BigInt. Time stands still within a call. */
  monotonicNs() {
    return this.#host.monotonicNs()
  }
  /** Milliseconds since 1970. */
  wallMs() {
    return this.#host.wallMs()
  }
  /** Sets a timer, or sets one that runs anew. The largest number belongs to the SDK. */
  setTimer(id, afterMs) {
    if (id === TRAILING_TIMER) throw new HostError('other', `timer ${id} belongs to the SDK`)
    this.#host.setTimer(id, afterMs)
    this.#desk.timers.add(id)
  }
  cancelTimer(id) {
    if (id !== TRAILING_TIMER && this.#desk.timers.delete(id)) this.#host.cancelTimer(id)
  }
  /** Whether a timer runs: set and not run out, here or by the predecessor. */
  timerRuns(id) {
    return this.#desk.timers.has(id)
  }

  acknowledge(command) {
    this.#host.acknowledge(command)
  }
  progress(command, message, share) {
    this.#host.progress(command, message, share)
  }
  /** Ends a command: done. The value is what the device really has now, where it says so. */
  succeed(command, value) {
    this.#host.complete(command, { tag: 'succeeded', val: value === undefined ? undefined : valueOf(value) })
  }
  fail(command, reason) {
    this.#host.complete(command, { tag: 'failed', val: reason })
  }
  block(command, reason) {
    this.#host.complete(command, { tag: 'blocked', val: reason })
  }
  giveUp(command) {
    this.#host.complete(command, { tag: 'cancelled' })
  }
}
