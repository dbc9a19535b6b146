/**
 * JSON Schemas of plugins, as far as a page has to understand them. A schema refers to nothing but itself; the daemon has refused recursion,
 * and the depth here is bounded all the same.
 */

import { isObject } from '../wire/decode'
import { listOf, textOf } from '../wire/read'
import type { Json, JsonObject } from '../wire/types'

/** Longest chain of references that is followed. */
const REFERENCES = 16

export interface Resolved {
  /** Without references, and without the part that only says "or null". */
  readonly schema: JsonObject
  readonly nullable: boolean
}

/** A schema without its indirections. What surrounds a reference, a description above all, wins over what it refers to. */
export function resolve(schema: Json | undefined, root: JsonObject): Resolved {
  let own: JsonObject = isObject(schema) ? schema : {}
  let nullable = false
  for (let step = 0; step < REFERENCES; step += 1) {
    const target = textOf(own, '$ref')
    const branches = alternatives(own)
    const rest = branches.filter((branch) => !isNull(branch))
    if (target !== undefined) own = merged(own, '$ref', lookUp(target, root))
    else if (branches.length > rest.length && rest.length === 1) {
      nullable = true
      own = merged(own, Array.isArray(own['anyOf']) ? 'anyOf' : 'oneOf', rest[0])
    } else break
  }
  // Null is among the values if neither the types nor the list of values leaves it out, and one of them names it.
  const types = listOf(own, 'type')
  const told = [types.length > 0 || own['type'] !== undefined ? types.includes('null') : undefined, own['enum'] === undefined ? undefined : listOf(own, 'enum').includes(null)]
  nullable ||= told.includes(true) && !told.includes(false)
  const named = types.filter((type) => type !== 'null')
  const only = named.length === 1 ? named[0] : undefined
  return { schema: only === undefined ? own : { ...own, type: only }, nullable }
}

/** The branches of `anyOf` or `oneOf`, whichever there is. */
export function alternatives(schema: JsonObject): readonly Json[] {
  const any = listOf(schema, 'anyOf')
  return any.length > 0 ? any : listOf(schema, 'oneOf')
}

function merged(own: JsonObject, without: string, inner: Json | undefined): JsonObject {
  const rest = Object.entries(own).filter(([name]) => name !== without)
  return { ...(isObject(inner) ? inner : {}), ...Object.fromEntries(rest) }
}

function isNull(schema: Json): boolean {
  return isObject(schema) && (schema['type'] === 'null' || schema['const'] === null)
}

/** The part of the schema that `#/a/b` names. */
function lookUp(reference: string, root: JsonObject): Json | undefined {
  if (!reference.startsWith('#/')) return reference === '#' ? root : undefined
  const pointer = decoded(reference.slice(2))
  if (pointer === undefined) return undefined
  let part: Json | undefined = root
  for (const token of pointer.split('/')) {
    const key = token.replaceAll('~1', '/').replaceAll('~0', '~')
    part = isObject(part) && Object.hasOwn(part, key) ? part[key] : undefined
  }
  return part
}

/** A pointer without its percent signs; undefined if they are not followed by bytes of a text. */
function decoded(pointer: string): string | undefined {
  try {
    return decodeURIComponent(pointer)
  } catch (error) {
    if (error instanceof URIError) return undefined
    throw error
  }
}
