import type { Env } from '../../../workers/env.ts'
import { linkedDatabase, silence } from '../../support/sharding-doubles.ts'

export interface SilentEnv {
  env: Env
  /** The dependency that does not answer from now on: a binding's name, or null. */
  silent: string | null
}

/**
 * The bindings of one isolate. One at a time can be made silent. Shards, KV and the directory are the runtime's. The others
 * answer at once and do nothing, because these tests do not check their effects.
 */
export function silentEnv(bindings: Env, settings: Partial<Env>): SilentEnv {
  const state: SilentEnv = { env: { ...bindings, ...settings }, silent: null }
  const doubles: Record<string, unknown> = {
    BUCKET: { get: async () => null, put: async () => null, head: async () => null },
    MAIL: { send: async () => ({ messageId: '1' }) },
    MAIL_QUEUE: { send: async () => undefined, sendBatch: async () => undefined },
    JOBS_QUEUE: { send: async () => undefined, sendBatch: async () => undefined },
    PURGES_QUEUE: { send: async () => undefined, sendBatch: async () => undefined },
    MEDIA_QUEUE: { send: async () => undefined, sendBatch: async () => undefined },
    RATE_LIMIT_REQUESTS: { limit: async () => ({ success: true }) },
    RATE_LIMIT_WRITES: { limit: async () => ({ success: true }) },
    RATE_LIMIT_CREDENTIALS: { limit: async () => ({ success: true }) },
    RATE_LIMIT_SEARCH: { limit: async () => ({ success: true }) },
    MOVER: { idFromName: (name: string) => name, get: () => ({ wake: async () => undefined }) },
  }
  for (const [name, binding] of bindingsOf(bindings)) {
    const isSilent = () => state.silent === name
    Object.assign(state.env, { [name]: silenceable(name, doubles[name] ?? binding, isSilent) })
  }
  return state
}

/** Everything outside the isolate that `env` names: values that are neither settings nor the test runner's. */
export const bindingsOf = (env: Env): [string, object][] =>
  Object.entries(env).filter(
    (entry): entry is [string, object] =>
      typeof entry[1] === 'object' && entry[1] !== null && !entry[0].startsWith('__VITEST_'),
  )

function silenceable(name: string, binding: unknown, isSilent: () => boolean): unknown {
  if (/^SHARD_\d{3}$/.test(name))
    return linkedDatabase(binding as D1Database, (send) => (isSilent() ? silence() : send()))
  if (name !== 'DIRECTORY' && name !== 'MOVER') return withSilence(binding as object, isSilent)
  const namespace = binding as DurableObjectNamespace
  return {
    idFromName: (id: string) => namespace.idFromName(id),
    get: (id: DurableObjectId, options: object) => withSilence(namespace.get(id, options), isSilent),
  }
}

/** The same object, whose methods never answer while `isSilent` holds. */
export function withSilence<T extends object>(target: T, isSilent: () => boolean): T {
  return new Proxy(target, {
    get(object, name) {
      const value = Reflect.get(object, name) as unknown
      if (typeof value !== 'function') return value
      return (...given: unknown[]) => (isSilent() ? silence() : (Reflect.apply(value, object, given) as unknown))
    },
  })
}
