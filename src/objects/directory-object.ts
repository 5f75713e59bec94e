import { retryable } from 'cloudflare:durable-objects'
import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '../core/clock.ts'
import { base64url } from '../core/digest.ts'
import { messageOf } from '../core/errors.ts'
import { createIdSource } from '../core/ids.ts'
import { limits } from '../core/limits.ts'
import { consoleLog } from '../core/log.ts'
import { systemRandom } from '../core/random.ts'
import {
  type DirectoryCalls,
  type DirectoryOperation,
  type DirectoryOperations,
  DirectoryService,
  directoryOperationNames,
  directoryOperations,
} from '../resharding/directory-operations.ts'
import type { Engine } from './engine.ts'
import { wakeMovers } from './movers.ts'

/**
 * The operations must be methods of the prototype, because RPC calls nothing else. The class below creates them from
 * the operations' table.
 */
const ObjectWithOperations = DurableObject as unknown as new (
  ctx: DurableObjectState,
  env: unknown,
) => DurableObject & DirectoryOperations

/**
 * The Durable Object that owns the shard map and the records of moves. There is one, named `directory`. A Worker exports a
 * class that extends this one and passes its own `Engine`.
 */
export class EngineDirectory extends ObjectWithOperations {
  static {
    for (const name of directoryOperationNames) EngineDirectory.#serve(name)
  }

  readonly #operations: DirectoryCalls
  /** Wakes the movers of moves that can start. If it fails, the cron wakes them. Tests replace it. */
  wakeMovers: (ids: string[]) => Promise<unknown>

  constructor(ctx: DurableObjectState, env: unknown, engine: Engine) {
    super(ctx, env)
    const log = consoleLog({ source: 'directory' })
    this.wakeMovers = (ids) => wakeMovers({ engine, log }, ids, limits.cronWakeMs)
    this.#operations = new DirectoryService({
      ...engine,
      storage: {
        rows: <T>(sql: string, ...values: (string | number | null)[]) =>
          ctx.storage.sql.exec(sql, ...values).toArray() as T[],
        transaction: <T>(body: () => T) => ctx.storage.transactionSync(body),
      },
      clock: systemClock,
      newDeploymentId: () => base64url(systemRandom.bytes(12)),
      newMoveId: createIdSource(systemClock, systemRandom).plain,
      onUnassigned: (error) => log.warn('keyspace.unassigned', { reason: messageOf(error) }),
      // Runs after the answer, so the caller neither waits for the wake-ups nor sees their failures.
      onRunnable: (ids) => ctx.waitUntil(Promise.resolve().then(() => this.wakeMovers(ids))),
    })
  }

  static #serve<K extends DirectoryOperation>(name: K): void {
    const method = async function (this: EngineDirectory, ...given: Parameters<DirectoryOperations[K]>) {
      return this.#operations[name](...given)
    }
    Object.defineProperty(EngineDirectory.prototype, name, { value: method, configurable: true, writable: true })
    // The runtime may repeat a read when a connection breaks.
    if (directoryOperations[name].kind === 'read') retryable(method)
  }
}
