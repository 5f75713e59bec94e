import { directoryOperationNames } from '../../../src/resharding/directory-operations.ts'
import type { Env } from '../../../workers/env.ts'

export interface Counts {
  d1: number
  kv: number
  directory: number
}

export interface CountedEnv {
  env: Env
  counts: Counts
  /** Lets jobs go to their queue. Until then the relay waits, so that no call after a response is counted with it. */
  openQueues(): void
  closeQueues(): void
}

/**
 * The bindings, with each call of a database, of KV and of the directory counted when it is made. An isolate's memory
 * is keyed by this object (workers/isolate.ts), so each object is one isolate.
 */
export function countedEnv(bindings: Env, settings: Partial<Env> = {}): CountedEnv {
  const counts: Counts = { d1: 0, kv: 0, directory: 0 }
  let gate = Promise.withResolvers<void>()
  const queue = { send: () => gate.promise, sendBatch: () => gate.promise } as unknown as Queue
  const shards = Object.entries(bindings)
    .filter(([name]) => /^SHARD_\d{3}$/.test(name))
    .map(([name, database]) => [name, countedDatabase(database as unknown as D1Database, () => counts.d1++)])
  const env: Env = {
    ...bindings,
    ...(Object.fromEntries(shards) as Record<string, D1Database>),
    KV: countedMethods(bindings.KV, ['get', 'getWithMetadata', 'put', 'delete', 'list'], () => counts.kv++),
    DIRECTORY: countedDirectory(bindings.DIRECTORY, () => counts.directory++),
    MAIL_QUEUE: queue,
    JOBS_QUEUE: queue,
    MEDIA_QUEUE: queue,
    PURGES_QUEUE: queue,
    JOBS: 'queue',
    LEASE_MS: '600000',
    GRACE_MS: '1200000',
    ...settings,
  }
  return {
    env,
    counts,
    openQueues: () => gate.resolve(),
    closeQueues: () => {
      gate = Promise.withResolvers<void>()
    },
  }
}

/** The object with these methods counted and everything else unchanged. */
function countedMethods<T extends object>(target: T, methods: string[], count: () => void): T {
  return new Proxy(target, {
    get(object, name) {
      const value = Reflect.get(object, name, object) as unknown
      if (typeof value !== 'function') return value
      return (...parameters: unknown[]) => {
        if (methods.includes(String(name))) count()
        return Reflect.apply(value, object, parameters) as unknown
      }
    },
  })
}

/** A batch is one call, however many statements it has; a statement that runs by itself is also one call. */
function countedDatabase(database: D1Database, count: () => void): D1Database {
  const originals = new WeakMap<object, D1PreparedStatement>()
  const statement = (original: D1PreparedStatement): D1PreparedStatement => {
    const counted = countedMethods(original, ['all', 'first', 'run', 'raw'], count)
    const bindable = new Proxy(counted, {
      get: (object, name) =>
        name === 'bind'
          ? (...values: unknown[]) => statement(original.bind(...values))
          : Reflect.get(object, name, object),
    })
    originals.set(bindable, original)
    return bindable
  }
  const connection = (target: Pick<D1Database, 'prepare' | 'batch'>) => ({
    prepare: (sql: string) => statement(target.prepare(sql)),
    batch(statements: D1PreparedStatement[]) {
      count()
      return target.batch(statements.map((one) => originals.get(one) ?? one))
    },
  })
  const wrapped = {
    ...connection(database),
    withSession(start: string) {
      const session = database.withSession(start)
      return { ...connection(session), getBookmark: () => session.getBookmark() }
    },
  }
  return wrapped as unknown as D1Database
}

/** A stub is created without a call; each call of its methods counts as one. */
function countedDirectory(namespace: Env['DIRECTORY'], count: () => void): Env['DIRECTORY'] {
  const wrapped = {
    idFromName: (name: string) => namespace.idFromName(name),
    get: (id: DurableObjectId) => countedMethods(namespace.get(id), directoryOperationNames, count),
  }
  return wrapped as unknown as Env['DIRECTORY']
}
