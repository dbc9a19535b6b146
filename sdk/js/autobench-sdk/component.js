// The component's side: the world's imports behind what the SDK asks of a host, and the one driver behind the world's exports. Loaded in a
// component only; elsewhere nobody has these modules.

import { clear, raise } from 'autobench:driver/alarms@0.1.0'
import { monotonicNs, wallMs } from 'autobench:driver/clock@0.1.0'
import { acknowledge, complete, progress } from 'autobench:driver/commands@0.1.0'
import { publish } from 'autobench:driver/events@0.1.0'
import { acquire, release } from 'autobench:driver/lease@0.1.0'
import { write } from 'autobench:driver/log@0.1.0'
import { open } from 'autobench:driver/serial@0.1.0'
import { readSlice, updateSlice } from 'autobench:driver/state@0.1.0'
import { failed, phase } from 'autobench:driver/status@0.1.0'
import { push } from 'autobench:driver/telemetry@0.1.0'
import { cancel, set } from 'autobench:driver/timer@0.1.0'

import { HostError } from './context.js'
import { Refusal } from './driver.js'
import { manifestRecord } from './manifest.js'
import { Runtime } from './runtime.js'

/** Lets what the host refuses be a `HostError`. */
const asked =
  (ask) =>
  (...args) => {
    try {
      return ask(...args)
    } catch (error) {
      const refusal = error?.payload ?? error
      if (typeof refusal?.tag === 'string') throw new HostError(refusal.tag, refusal.val)
      throw error
    }
  }

const ports = new Map()

// A port's handle is good for the life of the driver, so each is opened once.
function port(name) {
  if (!ports.has(name)) ports.set(name, open(name))
  return ports.get(name)
}

const host = {
  write: asked((name, data) => port(name).write(data)),
  updateSlice: asked(updateSlice),
  readSlice: asked(readSlice),
  push: asked(push),
  acquireLease: asked(acquire),
  releaseLease: release,
  setTimer: asked(set),
  cancelTimer: cancel,
  acknowledge: asked(acknowledge),
  progress: asked(progress),
  complete: asked(complete),
  publish: asked(publish),
  raiseAlarm: raise,
  clearAlarm: clear,
  log: (level, message) => write(level, message, []),
  phase,
  failed,
  monotonicNs,
  wallMs,
}

/** An exception that leaves an export is a bare trap to the host. Its text and place go to the log first. */
function told(work) {
  try {
    return work()
  } catch (error) {
    if (!(error instanceof Refusal)) write('error', `${error}\n${error?.stack ?? ''}`.trim(), [])
    throw error
  }
}

/** What `guest` of the world is, for a driver. */
export function guestOf(driverClass) {
  let runtime
  return {
    describe: () => told(() => manifestRecord(driverClass)),
    start(configuration) {
      try {
        runtime = told(() => new Runtime(host, driverClass, configuration))
      } catch (error) {
        // What is thrown here and has the form of the world's refusal is one; anything else is a trap.
        throw error instanceof Refusal ? { tag: error.kind, val: error.message } : error
      }
    },
    handle: (event) => told(() => runtime?.handle(event)),
    snapshot: () => told(() => runtime.snapshot()),
    stop: (reason) => told(() => runtime?.stop(reason)),
  }
}
