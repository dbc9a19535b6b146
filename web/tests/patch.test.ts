// Patches: the page's RFC 6902 against fast-json-patch on random documents, and what stays the same object.

import fastJsonPatch from 'fast-json-patch'
import type { Operation } from 'fast-json-patch'
import { describe, expect, it } from 'vitest'
import { applyPatch } from '../src/wire/patch'
import type { Json, PatchOperation } from '../src/wire/types'
import { SEED, rounds, seeded } from './support/random'

type Container = Json[] | Record<string, Json>

const KEYS = ['a', 'b', 'c~d', 'e/f', '', '0', 'längs']

function randomValue(random: () => number, depth: number): Json {
  const kind = Math.floor(random() * (depth > 0 ? 7 : 5))
  if (kind === 0) return null
  if (kind === 1) return random() < 0.5
  if (kind === 2) return Math.round((random() - 0.5) * 2e6) / 10
  if (kind <= 4) return String.fromCodePoint(97 + Math.floor(random() * 26)).repeat(kind)
  if (kind === 5) return Array.from({ length: Math.floor(random() * 4) }, () => randomValue(random, depth - 1))
  return randomObject(random, depth - 1)
}

function randomObject(random: () => number, depth: number): Record<string, Json> {
  const object: Record<string, Json> = {}
  for (const key of KEYS) if (random() < 0.5) object[key] = randomValue(random, depth)
  return object
}

/** Pointers of all values below the root. */
function pointers(value: Json, prefix = ''): string[] {
  if (typeof value !== 'object' || value === null) return []
  return Object.entries(value as Container).flatMap(([key, child]) => {
    const path = `${prefix}/${key.replaceAll('~', '~0').replaceAll('/', '~1')}`
    return [path, ...pointers(child, path)]
  })
}

function pick<T>(random: () => number, items: readonly T[]): T | undefined {
  return items[Math.floor(random() * items.length)]
}

/** An operation that fits `document`, mostly. */
function randomOperation(random: () => number, document: Json): PatchOperation {
  const existing = pick(random, pointers(document)) ?? ''
  const other = pick(random, pointers(document)) ?? ''
  const value = randomValue(random, 2)
  const kind = random()
  if (existing === '' || kind < 0.2) return { op: 'add', path: `/${pick(random, ['x', 'y', 'z']) ?? 'x'}`, value }
  if (kind < 0.35) return { op: 'add', path: existing, value }
  if (kind < 0.65) return { op: 'replace', path: existing, value }
  if (kind < 0.8) return { op: 'remove', path: existing }
  if (kind < 0.9) return { op: 'copy', from: existing, path: `/${pick(random, ['x', 'y', 'z']) ?? 'x'}` }
  if (existing.startsWith(`${other}/`) || other.startsWith(`${existing}/`) || other === '') return { op: 'test', path: existing, value }
  return { op: 'move', from: other, path: '/moved' }
}

function reference(document: Json, patch: readonly PatchOperation[]): Json | undefined {
  const copy = structuredClone(document) as object
  try {
    return fastJsonPatch.applyPatch(copy, structuredClone(patch) as Operation[], true).newDocument as Json
  } catch {
    return undefined
  }
}

describe(`applyPatch (seed ${SEED})`, () => {
  it('gives what fast-json-patch gives, and leaves the document before it as it was', () => {
    const random = seeded(SEED)
    let applied = 0
    for (let round = 0; round < rounds(1_500, 50_000); round += 1) {
      const document: Json = randomObject(random, 3)
      const patch: PatchOperation[] = []
      let growing: Json = document
      for (let i = 0; i < 6; i += 1) {
        const operation = randomOperation(random, growing)
        const next = reference(growing, [operation])
        // Only a test may fail on purpose here; its patch must then fail as a whole.
        if (next === undefined && operation.op !== 'test') continue
        patch.push(operation)
        growing = next ?? growing
      }
      const before = JSON.stringify(document)
      const expected = reference(document, patch)
      const result = applyPatch(document, patch)
      expect(JSON.stringify(document), `round ${round}`).toBe(before)
      if (expected === undefined) expect(result.ok, `round ${round}: ${JSON.stringify(patch)}`).toBe(false)
      else {
        expect(result, `round ${round}: ${before} ${JSON.stringify(patch)}`).toEqual({ ok: true, document: expected })
        applied += 1
      }
    }
    expect(applied).toBeGreaterThan(100)
  })

  it('keeps what it does not touch the same object', () => {
    const random = seeded(SEED + 1)
    for (let round = 0; round < 300; round += 1) {
      const document = randomObject(random, 3)
      const path = pick(random, pointers(document))
      if (path === undefined) continue
      const result = applyPatch(document, [{ op: 'replace', path, value: 'new' }])
      if (!result.ok) throw new Error(result.reason)
      const touched = path.split('/')[1]?.replaceAll('~1', '/').replaceAll('~0', '~')
      for (const [key, value] of Object.entries(document)) {
        if (key !== touched) expect((result.document as Record<string, Json>)[key]).toBe(value)
      }
      expect(result.document).not.toBe(document)
    }
  })

  it('a value that was copied is not changed through its other place', () => {
    const result = applyPatch({ a: { n: [1] } }, [
      { op: 'add', path: '/a/n/-', value: 2 },
      { op: 'copy', from: '/a', path: '/b' },
      { op: 'add', path: '/a/n/-', value: 3 },
    ])
    expect(result).toEqual({ ok: true, document: { a: { n: [1, 2, 3] }, b: { n: [1, 2] } } })
  })

  it.each<[string, PatchOperation]>([
    ['no member', { op: 'replace', path: '/missing', value: 1 }],
    ['no member', { op: 'remove', path: '/missing' }],
    ['no member', { op: 'add', path: '/missing/deep', value: 1 }],
    ['no array index', { op: 'add', path: '/list/01', value: 1 }],
    ['beyond the end', { op: 'add', path: '/list/9', value: 1 }],
    ['beyond the end', { op: 'remove', path: '/list/2' }],
    ['a scalar has no members', { op: 'add', path: '/n/x', value: 1 }],
    ['into itself', { op: 'move', from: '/o', path: '/o/p/q' }],
    ['is no JSON pointer', { op: 'add', path: 'n', value: 1 }],
    ['is not allowed', { op: 'add', path: '/__proto__/x', value: 1 }],
    ['is not allowed', { op: 'add', path: '/constructor', value: 1 }],
    ['test failed', { op: 'test', path: '/n', value: 2 }],
  ])('refuses with "%s": %j', (reason, operation) => {
    const document = { n: 1, list: [1, 2], o: { p: {} } }
    const result = applyPatch(document, [{ op: 'replace', path: '/n', value: 5 }, operation])
    expect(result).toMatchObject({ ok: false, index: 1 })
    expect(result.ok ? '' : result.reason).toContain(reason)
    expect(document).toEqual({ n: 1, list: [1, 2], o: { p: {} } })
  })

  it('replaces the whole document at the empty pointer', () => {
    expect(applyPatch({ a: 1 }, [{ op: 'replace', path: '', value: { b: 2 } }])).toEqual({ ok: true, document: { b: 2 } })
  })
})
