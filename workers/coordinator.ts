import { DurableObject } from 'cloudflare:workers'
import { systemClock } from '../src/core/clock.ts'
import { base64url } from '../src/core/digest.ts'
import { BanyanError, type ErrorCode } from '../src/core/errors.ts'
import { systemRandom } from '../src/core/random.ts'
import { Directory } from '../src/sharding/directory.ts'
import type { MapWire } from '../src/sharding/shard-map.ts'
import { boundShards, type Env } from './env.ts'

/** An answer of the directory. Errors travel as values: a class doesn't survive RPC, a code does. */
export type DirectoryReply = { map: MapWire } | { code: ErrorCode; detail: string }

/** The Durable Object that owns the shard map. There is one, named `directory`. */
export class DirectoryObject extends DurableObject<Env> {
  readonly #directory: Directory

  constructor(ctx: DurableObjectState, env: Env) {
    super(ctx, env)
    this.#directory = new Directory({
      storage: {
        rows: <T>(sql: string, ...values: (string | number | null)[]) =>
          ctx.storage.sql.exec(sql, ...values).toArray() as T[],
        transaction: (body) => ctx.storage.transactionSync(body),
      },
      shards: boundShards(env),
      clock: systemClock,
      newDeploymentId: () => base64url(systemRandom.bytes(12)),
    })
  }

  async map(): Promise<DirectoryReply> {
    try {
      return { map: await this.#directory.map() }
    } catch (error) {
      if (error instanceof BanyanError) return { code: error.code, detail: error.message }
      throw error
    }
  }
}
