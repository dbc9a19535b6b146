// The class that a driver derives from, and what it leaves behind.

/** Why a driver does not start. The case is one of `invalid-settings`, `unknown-snapshot`, `missing-port` and `other`. */
export class Refusal extends Error {
  constructor(kind, text) {
    super(text)
    this.kind = kind
  }
}

/**
 * What a driver needs to go on: anything that can be JSON. The slice is added by the SDK. All bytes so far count as dealt with, but for the last
 * ones of each port in `rereading`, which the successor gets again: the half line that a framer holds.
 */
export class Snapshot {
  constructor(memory = null, rereading = {}) {
    this.memory = memory
    this.rereading = rereading
  }
}

/**
 * A driver of one device. It never blocks and holds nothing but itself: between two calls it is at rest, and the host may take a snapshot of it,
 * replace it with another version, or drop it. Times and byte numbers are BigInt.
 */
export class Driver {
  /** Version of what `snapshot` returns; raised when an older one cannot be read. */
  static snapshotVersion = 1

  /**
   * What the driver says of itself, the same each time: name, version, description, ports, series, commands with their JSON Schemas as objects,
   * settingsSchema and sliceSchema likewise. What is missing has its default.
   */
  static manifest() {
    throw new Error('a driver needs a manifest')
  }

  /** The slice of a driver that starts from nothing. */
  static slice() {
    return {}
  }

  /**
   * Starts the driver. Where it goes on from a predecessor the slice is already as that one left it, and `start.memory` is what that one put into
   * its snapshot; otherwise it is null. `start.timers` are the ids of timers that run, `start.leases` those of leases that are open; one whose bytes
   * the host has written since is told as ended behind the start. May throw a `Refusal`.
   */
  start(_cx, _start) {}

  /** What the driver needs to go on. */
  snapshot() {
    return new Snapshot()
  }

  onBytes(_cx, _bytes) {}
  onAttached(_cx, _attached) {}
  onLost(_cx, _lost) {}
  /** Bytes that the driver will not get. What is half read ends here. */
  onOverrun(_cx, _overrun) {}
  onTimer(_cx, _id) {}
  /** A command, with its arguments as an object. It stays in flight until it is completed or expires. */
  onCommand(_cx, _command) {}
  onCancel(_cx, _cancellation) {}
  /** A lease is over without the driver: its bytes were written, or will be as soon as its line is back. */
  onLeaseEnded(_cx, _end) {}
  onObserved(_cx, _observed) {}
  onSettings(cx, _settings) {
    cx.warn('this driver takes new settings only when it starts')
  }
  onTransmitDrained(_cx, _port) {}
  onLineError(_cx, _error) {}
  onLinesChanged(_cx, _changed) {}
  onOther(_cx, _event) {}
  /** Last words: what it writes here still leaves. Not called before a swap. */
  stop(_cx, _reason) {}
}
