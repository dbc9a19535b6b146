// Writes the recordings in fixtures/: what the socket of a bench with one power meter, or with a PC on it, says, made from a fixed seed.
//     node scripts/fixture.mjs

import { writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { runnerImport } from 'vite'

const { module } = await runnerImport(join(import.meta.dirname, '..', 'tests', 'support', 'state.ts'))
const { stateDocument } = module
const { module: pcModule } = await runnerImport(join(import.meta.dirname, '..', 'tests', 'support', 'pc.ts'))
const { pcDocument } = pcModule

const start = Date.UTC(2026, 0, 1, 12, 0, 0)
const bootId = '7f3a91c04be25d68'
const sha = (letter) => letter.repeat(64)

/** A linear congruential generator: the recordings are the same each time. */
function random(seed) {
  let state = seed >>> 0
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0
    return state / 2 ** 32
  }
}

const noise = random(42)

/** Watts of a PC that idles, boots and runs a benchmark, over 200 seconds again and again. */
function wattsAt(second) {
  const at = ((second % 200) + 200) % 200
  const shape =
    at < 40 ? 61 : at < 55 ? 61 + 45 * Math.sin(((at - 40) / 15) * Math.PI) : at < 80 ? 66 : at < 170 ? 168 + 14 * Math.sin(at / 4) : 66
  return Math.round((shape + (noise() - 0.5) * (shape > 100 ? 9 : 2.4)) * 10) / 10
}

const iso = (ms) => new Date(ms).toISOString()

function sampleAt(second) {
  const watts = wattsAt(second)
  const volts = Math.round((230.4 + (noise() - 0.5) * 1.6) * 10) / 10
  const powerFactor = 0.96
  return { ts: iso(start + second * 1000), watts, volts, amps: Math.round((watts / volts / powerFactor) * 1000) / 1000, frequencyHz: 50, powerFactor }
}

function entry(seq, second, channel, level, message, tag) {
  const look = {
    app: ['🚀', 'green'],
    device: ['🔌', 'cyan'],
    driver: ['🧩', 'magenta'],
    plugin: ['📦', 'yellow'],
    request: ['🌐', 'blue'],
    websocket: ['📡', 'gray'],
  }[channel]
  return {
    seq,
    ts: start + Math.round(second * 1000),
    channel,
    emoji: look[0],
    level,
    message,
    color: look[1],
    ...(tag === undefined ? {} : { tag }),
  }
}

/** The document of the tests, which the daemon's types hold to its shape, as this bench has it. */
function document(version, sample, samples) {
  const data = stateDocument(version)
  Object.assign(data.meta, { bootId, startedAt: iso(start - 640_000), timings: { config: 2.1, plugins: 31.4, serve: 44.9 } })
  data.serverConfig.logs = { snapshot: 200, capacity: 500, allowedChannels: [], minLevel: 'debug' }
  delete data.plugins.broken
  data.plugins['power-meter'].sha256 = sha('a')
  const { meter } = data.devices
  Object.assign(meter.driver, {
    sha256: sha('a'),
    health: { calls: 1893, traps: 0 },
    lastReload: { at: iso(start - 180_000), verdict: 'swapped', from: sha('b'), to: sha('a'), pauseUs: 120, carriedBytes: 17 },
  })
  meter.ports.main.identity = { usbVendorId: 1027, usbProductId: 24577, serialNumber: 'A1000wT3' }
  meter.series = {
    watts: { endpointId: 1, unit: 'W', kind: 'measurement' },
    volts: { endpointId: 2, unit: 'V', kind: 'measurement' },
    amps: { endpointId: 3, unit: 'A', kind: 'measurement' },
  }
  meter.lastSeen = iso(start)
  data.logs = { nextSeq: 13, capacity: 500, size: 12, head: 12 }
  data.powerMeter = {
    phase: 'streaming',
    stats: { totalSamples: samples, badRows: 2, bytesReceived: samples * 74, lastSampleAt: Date.parse(sample.ts), lastErrorAt: null },
    lastSample: { ...sample, energyWh: 18.4 },
  }
  return data
}

function telemetry(seconds) {
  const samples = seconds.map((second) => [start + second * 1000, wattsAt(second)])
  const [newestMs, value] = samples.at(-1)
  return { type: 'telemetry', endpointId: 1, endpoint: 'meter.watts', unit: 'W', samples, value, timestamp: iso(newestMs) }
}

function welcome() {
  return { type: 'welcome', protocol: 'autobench.v1', serverTime: iso(start), serverVersion: '0.1.0', bootId, clientId: 'c-1', limits: {}, features: [], resumed: false }
}

const history = [
  entry(1, -640, 'app', 'info', 'autobench 0.1.0 starts; state in ~/.local/state/autobench'),
  entry(2, -639.9, 'plugin', 'info', 'power-meter.wasm: 37,112 bytes, compiled in 312 ms, bound to meter'),
  entry(3, -639.8, 'device', 'info', 'port main opened: /dev/ttyUSB0, 115200 8N1', 'meter'),
  entry(4, -638.2, 'driver', 'info', 'Watts Up? PRO, firmware 3.14, identified', 'meter'),
  entry(5, -637.1, 'driver', 'debug', 'external logging every 1 s', 'meter'),
  entry(6, -637, 'device', 'info', 'phase identifying -> streaming', 'meter'),
  entry(7, -402, 'device', 'warn', 'line lost: /dev/ttyUSB0 is gone; trying again in 0.25 s', 'meter'),
  entry(8, -377, 'device', 'info', 'line is back after 25.0 s: /dev/ttyUSB0', 'meter'),
  entry(9, -180, 'plugin', 'info', 'power-meter.wasm has changed: new version live, paused 120 µs, 17 bytes carried over', 'meter'),
  entry(10, -95, 'driver', 'warn', 'row without head taken: 18 fields, ends well', 'meter'),
  entry(11, -12, 'request', 'debug', 'GET /api/v1/devices 200 0.4 ms'),
  entry(12, -0.2, 'websocket', 'info', 'client c-1 connected'),
]

/** Ten minutes behind, with an unplugged stretch, then forty seconds live. */
function bench() {
  const lines = []
  const past = Array.from({ length: 600 }, (_, i) => i - 600).filter((second) => second < -402 || second >= -377)
  const first = sampleAt(-1)
  let version = 1893
  let samples = 615
  lines.push([0, welcome()])
  lines.push([0, { type: 'state.snapshot', bootId, stateVersion: version, data: document(version, first, samples) }])
  lines.push([0, { type: 'logs.history', fromSeq: 1, toSeq: 12, entries: history }])
  lines.push([40, telemetry(past)])
  let seq = 12
  for (let second = 0; second < 40; second += 1) {
    const sample = sampleAt(second)
    samples += 1
    const patch = [
      { op: 'replace', path: '/powerMeter/lastSample', value: { ...sample, energyWh: Math.round((18.4 + second * 0.03) * 10) / 10 } },
      { op: 'replace', path: '/powerMeter/stats/totalSamples', value: samples },
      { op: 'replace', path: '/powerMeter/stats/bytesReceived', value: samples * 74 },
      { op: 'replace', path: '/powerMeter/stats/lastSampleAt', value: start + second * 1000 },
      { op: 'replace', path: '/version', value: version + 1 },
    ]
    const atMs = second * 1000 + 60
    lines.push([atMs, { type: 'state.patch', fromVersion: version, toVersion: version + 1, patch }])
    version += 1
    const value = sample.watts
    lines.push([
      atMs,
      { type: 'telemetry', endpointId: 1, endpoint: 'meter.watts', unit: 'W', samples: [[start + second * 1000, value]], value, timestamp: sample.ts },
    ])
    if (second % 5 === 2) {
      seq += 1
      lines.push([atMs, { type: 'logs.append', fromSeq: seq, toSeq: seq, entries: [entry(seq, second + 0.06, 'driver', 'debug', `row ${samples}: 18 fields`, 'meter')] }])
    }
  }
  return lines
}

/** A bench in trouble: a quarantined driver, a refused plugin, lost log entries, panes that cannot be shown. */
function trouble() {
  const sample = sampleAt(-31)
  const data = document(57, sample, 204)
  data.meta = { ...data.meta, status: 'error', errors: 5 }
  data.message = 'The meter needs attention.'
  data.layout.panes = [
    data.layout.panes[0],
    data.layout.panes[1],
    { ...data.layout.panes[2], colSpan: 1 },
    { id: 'panel', pane: 'front-panel', slice: 'frontPanel', device: 'atx', row: 1, col: 1, rowSpan: 1, colSpan: 1 },
    { id: 'second', pane: 'power-meter', slice: 'secondMeter', device: 'second', row: 2, col: 0, rowSpan: 1, colSpan: 2 },
  ]
  data.layout.rows = 3
  Object.assign(data.devices.meter, {
    status: 'quarantined',
    reason: 'five strikes in ten minutes; the last: trap in handle: out of bounds memory access',
    staleSince: iso(start - 30_000),
  })
  data.plugins['broken'] = {
    file: 'broken.wasm',
    sha256: sha('c'),
    status: 'refused',
    reason: 'the component wants autobench:driver@0.9.0, this daemon has 0.1.0',
    devices: [],
  }
  data.powerMeter.phase = 'error'
  data.powerMeter.message = 'no row for 6 s'
  return [
    [0, welcome()],
    [0, { type: 'state.snapshot', bootId, stateVersion: 57, data }],
    [
      0,
      {
        type: 'logs.history',
        fromSeq: 1,
        toSeq: 12,
        entries: history.slice(0, 6),
      },
    ],
    [
      20,
      {
        type: 'logs.append',
        fromSeq: 90,
        toSeq: 92,
        missed: { fromSeq: 13, toSeq: 89 },
        entries: [
          entry(90, -30, 'driver', 'error', 'trap in handle: out of bounds memory access', 'meter'),
          entry(91, -30, 'device', 'warn', 'restart 5 in 0.4 s', 'meter'),
          entry(92, -29.9, 'device', 'fatal', 'quarantined: five strikes in ten minutes', 'meter'),
        ],
      },
    ],
    [40, telemetry(Array.from({ length: 60 }, (_, i) => i - 90))],
  ]
}

/** A bench with a PC on it: its front panel cuts the power, a text is typed, and two commands wait. */
function pc() {
  const data = document(57, sampleAt(-1), 204)
  const { plugins, devices, frontPanel, ps2Keyboard } = pcDocument()
  for (const name of ['atx', 'keyboard']) {
    data.plugins[name] = plugins[name]
    data.devices[name] = { ...devices[name], lastSeen: iso(start) }
  }
  const running = (id, kind, label, createdAt) => ({ id, kind, status: 'running', createdAt, requestedBy: 'wall', label })
  data.frontPanel = {
    ...frontPanel,
    hddActive: true,
    powerButtonHeld: true,
    busy: true,
    queueDepth: 1,
    currentOp: running('c-1', 'force-off', "cut the PC's power", start - 2_000),
    lastError: { at: start - 60_000, scope: 'protocol', message: 'the board let go by itself before its time was over' },
  }
  data.ps2Keyboard = { ...ps2Keyboard, busy: true, queueDepth: 1, currentOp: running('t-1', 'type', 'type 40 characters', iso(start - 3_000)), heldKeys: ['ShiftLeft'] }
  const asked = (commandId, device, name, ms, more) => ({ type: 'command_status', commandId, device, name, actor: 'wall', queuedAt: iso(start - ms), deadlineAt: iso(start + 30_000), ...more })
  return [
    [0, welcome()],
    [0, { type: 'state.snapshot', bootId, stateVersion: 57, data }],
    [0, { type: 'logs.history', fromSeq: 1, toSeq: 12, entries: history }],
    [20, asked('c-1', 'atx', 'force-off', 2_000, { status: 'acked', sentAt: iso(start - 1_998), ackedAt: iso(start - 1_990) })],
    [20, asked('c-2', 'atx', 'on', 1_000, { status: 'queued' })],
    [20, asked('t-1', 'keyboard', 'type', 3_000, { status: 'acked', sentAt: iso(start - 2_998), ackedAt: iso(start - 2_900), progress: { message: '10 of 40', share: 0.25 } })],
    [20, asked('t-2', 'keyboard', 'macro', 900, { status: 'sent', sentAt: iso(start - 899) })],
    [40, telemetry(Array.from({ length: 60 }, (_, i) => i - 60))],
  ]
}

for (const [name, lines] of [
  ['bench', bench()],
  ['trouble', trouble()],
  // Last: the noise of the others is drawn from one sequence.
  ['pc', pc()],
]) {
  const file = join(import.meta.dirname, '..', 'fixtures', `${name}.jsonl`)
  writeFileSync(file, lines.map(([atMs, frame]) => JSON.stringify({ ...frame, atMs })).join('\n') + '\n')
}
