// The frames that the daemon's own tests read: each is what the generated types say, and each is handled by the page.

import { readFileSync, readdirSync } from 'node:fs'
import { describe, expect, it } from 'vitest'
import { Session } from '../src/socket/session'
import type { SessionEffect } from '../src/socket/session'
import { decodeFrame } from '../src/wire/decode'
import type { ClientMessage } from '../src/wire/types'
import { clientFrames, serverFrames } from './generated/frames'

const FOLDER = new URL('../../tests/fixtures/wire/', import.meta.url)

function files(side: string): Record<string, string> {
  const names = readdirSync(new URL(`${side}/`, FOLDER)).filter((name) => name.endsWith('.json'))
  return Object.fromEntries(names.map((name) => [name.slice(0, -'.json'.length), readFileSync(new URL(`${side}/${name}`, FOLDER), 'utf8')]))
}

/** A session that is connected, and has got nothing yet. */
function connected(): Session {
  const session = new Session({ name: 'test', page: '/', random: () => 0.5 })
  session.step({ kind: 'start' }, 0)
  session.step({ kind: 'socket-open', socket: 1 }, 0)
  return session
}

describe('the frames of the daemon', () => {
  it('are those that the compiler has checked', () => {
    const read = Object.fromEntries(Object.entries(files('server')).map(([name, text]) => [name, JSON.parse(text) as unknown]))
    expect(read).toEqual(serverFrames)
    expect(Object.keys(read).length).toBeGreaterThan(10)
  })

  it.each(Object.entries(files('server')))('%s is decoded', (name, text) => {
    const decoded = decodeFrame(text)
    expect(decoded.ok && decoded.frame.type).toBe(name)
  })

  it('make a mirror live, and no fault, in the order of a connection', () => {
    const session = connected()
    const effects: SessionEffect[] = []
    const order = ['welcome', 'state.snapshot', 'logs.history', 'connected', 'state.patch', 'logs.append', 'telemetry', 'alarm', 'event', 'ack']
    const frames = files('server')
    const rest = Object.keys(frames).filter((name) => !order.includes(name) && name !== 'error')
    for (const name of [...order, ...rest]) {
      effects.push(...session.step({ kind: 'socket-message', socket: 1, text: frames[name] ?? '' }, 0))
    }
    const kinds = effects.map((effect) => effect.kind)
    expect(kinds).toEqual(expect.arrayContaining(['welcome', 'snapshot', 'patch', 'telemetry']))
    expect(kinds.filter((kind) => kind === 'logs')).toHaveLength(2)
    expect(kinds.filter((kind) => kind === 'fault' || kind === 'resync')).toEqual([])
  })

  it('show an error of the daemon as a fault', () => {
    const effects = connected().step({ kind: 'socket-message', socket: 1, text: files('server')['error'] ?? '' }, 0)
    expect(effects.map((effect) => effect.kind)).toEqual(['fault'])
  })
})

describe('the frames of a client', () => {
  it('are those that the compiler has checked', () => {
    const read = Object.fromEntries(Object.entries(files('client')).map(([name, text]) => [name, JSON.parse(text) as unknown]))
    expect(read).toEqual(clientFrames)
  })

  it('have every message that the page sends', () => {
    const sends: Record<ClientMessage['type'], true> = {
      hello: true,
      ping: true,
      'state.resync': true,
      'logs.replay': true,
      subscribe: true,
      unsubscribe: true,
      command: true,
      'command.cancel': true,
      'lease.renew': true,
      'lease.end': true,
    }
    expect(Object.keys(files('client'))).toEqual(expect.arrayContaining(Object.keys(sends)))
  })
})
