import type { ShardDatabase } from '../sharding/shards.ts'
import type { EngineSettings } from './settings.ts'

/** The methods of a Durable Object binding that the engine uses. */
interface ObjectNamespace {
  idFromName(name: string): DurableObjectId
  get(id: DurableObjectId, options?: DurableObjectNamespaceGetDurableObjectOptions): unknown
}

/** A Worker's input to the engine: its bindings, settings and newest migration. */
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

/** A value per isolate, created on first use. An isolate has one `env`. In tests, each `env` stands for an isolate. */
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
