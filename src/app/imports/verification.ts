import type { z } from '@hono/zod-openapi'
import { GroupedClaims, groupedClaim } from '../../sharding/grouped-claims.ts'
import { rowsOf } from '../../sharding/named-batch.ts'
import type { ImportRequest, ImportTiers } from './imports.ts'
import { claimSpecsOf, idOf, isRefusal, type Newcomer, readRecord } from './records.ts'
import type { verification } from './shapes.ts'

export type ImportVerification = z.infer<typeof verification>

type StoredUser = Omit<Newcomer, 'externalId'> & { key: string }

/** Compares users with the databases, by exact reads: each field, and the holder of each of the three claims. */
export async function verifyUsers(
  { shards, clock }: ImportTiers,
  { source, users }: ImportRequest,
): Promise<ImportVerification[]> {
  const now = clock.now()
  const wanted = users.map((record) => {
    const user = readRecord(record, now)
    if (isRefusal(user)) return { externalId: record.externalId, sought: null }
    const key = idOf(source, user)
    const claims = claimSpecsOf(source, user).map((spec) => groupedClaim(spec, { ownerId: key, attemptId: '' }))
    return { externalId: record.externalId, sought: { key, user, claims } }
  })
  const allSought = wanted.flatMap(({ sought }) => sought ?? [])
  const found = await shards.group(allSought, { keyspace: 'users', operation: 'imports.verify' }, (database, some) => ({
    users: rowsOf<StoredUser>(
      database
        .prepare(
          `SELECT accounts.id AS key, email, email_verified_at AS emailVerifiedAt, password_hash AS passwordHash, handle,
             display_name AS displayName, bio, accounts.created_at AS createdAt
           FROM accounts JOIN profiles ON profiles.id = accounts.id
           WHERE accounts.id IN (SELECT value FROM json_each(?))`,
        )
        .bind(JSON.stringify(some.map(({ key }) => key))),
    ),
  }))
  const { holders, failed } = await new GroupedClaims(shards, clock).holders(allSought.flatMap(({ claims }) => claims))
  const [error] = [...found.failed.values(), ...failed.values()]
  if (error) throw error
  const stored = new Map(found.answers.flatMap(({ users }) => users.results.map((row) => [row.key, row])))
  return wanted.map(({ externalId, sought }) => {
    const row = sought && stored.get(sought.key)
    if (!sought || !row) return { externalId, id: null, isHere: false, differences: [] }
    const strayed = sought.claims.filter(({ key, ownerId }) => {
      const holder = holders.get(key)
      return holder?.ownerId !== ownerId || holder.state !== 'confirmed'
    })
    const differences = [...fieldsThatDiffer(sought.user, row), ...strayed.map(({ kind }) => `claim ${kind}`)]
    return { externalId, id: sought.key, isHere: true, differences }
  })
}

const compared = ['email', 'handle', 'displayName', 'bio', 'createdAt', 'emailVerifiedAt', 'passwordHash'] as const

/** Ignores `createdAt` if it was not given, because the stored time is then the import's. */
const fieldsThatDiffer = (user: Newcomer, row: StoredUser): string[] =>
  compared.filter((name) => user[name] !== row[name] && !(name === 'createdAt' && user.createdAt === null))
