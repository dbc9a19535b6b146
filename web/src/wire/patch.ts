/**
 * RFC 6902 on a document that nobody may change in place. A patch copies the containers on the way to what it changes, once each,
 * and shares everything else with the version before: an untouched member stays the same object, so nothing that watches it wakes.
 */

import type { Json, PatchOperation } from './types'

export type PatchResult =
  | { readonly ok: true; readonly document: Json }
  | { readonly ok: false; readonly index: number; readonly reason: string }

/** Applies all operations or none. */
export function applyPatch(document: Json, patch: readonly PatchOperation[]): PatchResult {
  const draft = new Draft(document)
  for (const [index, operation] of patch.entries()) {
    try {
      draft.apply(operation)
    } catch (error) {
      if (error instanceof PatchError) return { ok: false, index, reason: error.message }
      throw error
    }
  }
  return { ok: true, document: draft.root }
}

class PatchError extends Error {}

type Container = Json[] | Record<string, Json>

class Draft {
  /** Containers made by this patch, which it may change in place. */
  private owned = new Set<Json>()

  constructor(public root: Json) {}

  apply(operation: PatchOperation): void {
    const path = parsePointer(operation.path)
    switch (operation.op) {
      case 'add':
        return this.add(path, operation.value)
      case 'replace':
        read(this.root, path)
        return this.replace(path, operation.value)
      case 'remove':
        this.remove(path)
        return
      case 'move': {
        const from = parsePointer(operation.from)
        if (path.length > from.length && from.every((token, i) => path[i] === token)) {
          throw new PatchError('cannot move a value into itself')
        }
        return this.add(path, this.remove(from))
      }
      case 'copy': {
        const value = read(this.root, parsePointer(operation.from))
        // The value now hangs in two places: neither may be changed in place any more.
        this.owned = new Set()
        return this.add(path, value)
      }
      case 'test':
        if (!equal(read(this.root, path), operation.value)) throw new PatchError(`test failed at "${operation.path}"`)
        return
    }
  }

  private add(path: readonly string[], value: Json): void {
    const key = path.at(-1)
    if (key === undefined) {
      this.root = value
      return
    }
    const parent = this.writable(path.slice(0, -1))
    if (Array.isArray(parent)) parent.splice(key === '-' ? parent.length : arrayIndex(key, parent.length), 0, value)
    else parent[memberKey(key)] = value
  }

  private replace(path: readonly string[], value: Json): void {
    const key = path.at(-1)
    if (key === undefined) {
      this.root = value
      return
    }
    const parent = this.writable(path.slice(0, -1))
    if (Array.isArray(parent)) parent[arrayIndex(key, parent.length - 1)] = value
    else parent[memberKey(key)] = value
  }

  private remove(path: readonly string[]): Json {
    const value = read(this.root, path)
    const key = path.at(-1)
    if (key === undefined) {
      this.root = null
      return value
    }
    const parent = this.writable(path.slice(0, -1))
    if (Array.isArray(parent)) parent.splice(arrayIndex(key, parent.length - 1), 1)
    else delete parent[memberKey(key)]
    return value
  }

  /** The container at `path`, copied together with its ancestors unless this patch has made them already. */
  private writable(path: readonly string[]): Container {
    let container = this.own(this.root)
    this.root = container
    for (const key of path) {
      const child = this.own(childOf(container, key))
      if (Array.isArray(container)) container[arrayIndex(key, container.length - 1)] = child
      else container[key] = child
      container = child
    }
    return container
  }

  private own(value: Json): Container {
    if (typeof value !== 'object' || value === null) throw new PatchError('a scalar has no members')
    if (this.owned.has(value)) return value as Container
    const copy: Container = isArray(value) ? [...value] : { ...value }
    this.owned.add(copy)
    return copy
  }
}

function read(root: Json, path: readonly string[]): Json {
  return path.reduce<Json>(childOf, root)
}

function childOf(container: Json, key: string): Json {
  if (isArray(container)) {
    const value = container[arrayIndex(key, container.length - 1)]
    if (value === undefined) throw new PatchError(`no element ${key}`)
    return value
  }
  if (typeof container !== 'object' || container === null) throw new PatchError('a scalar has no members')
  const value = Object.hasOwn(container, memberKey(key)) ? container[key] : undefined
  if (value === undefined) throw new PatchError(`no member "${key}"`)
  return value
}

function parsePointer(pointer: string): readonly string[] {
  if (pointer === '') return []
  if (!pointer.startsWith('/')) throw new PatchError(`"${pointer}" is no JSON pointer`)
  return pointer
    .slice(1)
    .split('/')
    .map((token) => token.replaceAll('~1', '/').replaceAll('~0', '~'))
}

function arrayIndex(key: string, last: number): number {
  if (!/^(0|[1-9]\d*)$/.test(key)) throw new PatchError(`"${key}" is no array index`)
  const index = Number(key)
  if (index > last) throw new PatchError(`index ${key} is beyond the end`)
  return index
}

/** The daemon refuses these keys too: assigning them would change what every object inherits. */
function memberKey(key: string): string {
  if (key === '__proto__' || key === 'prototype' || key === 'constructor') throw new PatchError(`the key "${key}" is not allowed`)
  return key
}

function isArray(value: Json): value is readonly Json[] {
  return Array.isArray(value)
}

function equal(a: Json, b: Json): boolean {
  if (a === b) return true
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false
  if (isArray(a) || isArray(b)) {
    return isArray(a) && isArray(b) && a.length === b.length && a.every((value, i) => equal(value, b[i] as Json))
  }
  const keys = Object.keys(a)
  return keys.length === Object.keys(b).length && keys.every((key) => Object.hasOwn(b, key) && equal(a[key] as Json, b[key] as Json))
}
