import type { ShardDatabase } from '../sharding/shards.ts'
import type { EngineSettings } from './settings.ts'

/** What the engine needs of a binding to a class of Durable Objects. */
interface ObjectNamespace {
  idFromName(name: string): DurableObjectId
  get(id: DurableObjectId, options?: DurableObjectNamespaceGetDurableObjectOptions): unknown
}

/** What a Worker gives the engine: its bindings, its settings and its newest migration. */
export interface Engine extends EngineSettings {
  /** The class that extends `EngineDirectory`. */
  directory: ObjectNamespace
  /** The class that extends `EngineMover`. */
  mover: ObjectNamespace
  /** The bound databases by binding name: `boundShards(env)`. */
  shards: ReadonlyMap<string, ShardDatabase>
  /** The name of the newest migration that this version of the Worker knows: `0003_notes.sql`. */
  newestMigration: string
}

/**
 * A value for each isolate, made on first use: there is one `env` in an isolate, except in tests, where each `env` stands
 * for an isolate.
 */
export function perIsolate<Env extends object, T>(make: (env: Env) => T): (env: Env) => T {
  const made = new WeakMap<Env, T>()
  return (env) => {
    const known = made.get(env)
    if (known !== undefined) return known
    const value = make(env)
    made.set(env, value)
    return value
  }
}
