import { limits } from '../../core/limits.ts'
import type { Duty, DutyTools } from '../../jobs/duties.ts'
import { upTo, type WalkedRows, walk, workOff } from '../../jobs/walk.ts'
import type { ShardFailure } from '../../sharding/scatter.ts'
import type { Shards, ShardWindow } from '../../sharding/shards.ts'
import { countsIn, deliver, EDGE_COLUMNS, type Edge, type EdgeRow, findEdges, otherSideOf, sideOf } from './edges.ts'

/** Reading the rows of a shard takes 4 statements. The rest of the budget is for other sides, and for repairs. */
const STATEMENTS_PER_SHARD = 8

/** The state of the slots, and the other sides in one shard. */
const STATEMENTS_PER_QUESTION = 2

/** To raise a follower's side and to deliver it, if the edge is alone in its shards. */
const STATEMENTS_PER_REPAIR = 7

interface CountRow {
  id: string
  followers: number
  following: number
}

/**
 * A version above a followee's side that is newer than its follower's side, or has none. Nothing else of the
 * follower's side changes, because it is the truth. If there is none, nobody follows.
 */
const RAISE = `INSERT INTO follows (id, follower_id, followee_id, followed_at, ended_at, version)
  SELECT edge.value ->> 'key', edge.value ->> 'followerId', edge.value ->> 'followeeId', edge.value ->> 'followedAt', ?2,
    (edge.value ->> 'version') + 1 FROM json_each(?1) AS edge WHERE true
  ON CONFLICT (id) DO UPDATE SET version = excluded.version WHERE excluded.version > follows.version`

/** Counts some users again, in the statement that corrects them. */
const recount = (ownedHere: string) => {
  const { followers, following } = countsIn('follow_counts.id')
  return `UPDATE follow_counts SET followers = ${followers}, following = ${following}
    WHERE id IN (SELECT value FROM json_each(?)) AND ${ownedHere}
      AND (followers <> ${followers} OR following <> ${following}) RETURNING id`
}

/**
 * Finds edges whose sides differ because a job was lost, and wrong counts. In each turn, it reads some rows of each
 * shard: follower's sides, then followee's sides, then counts. No repair replaces a newer version, so jobs may run
 * meanwhile.
 */
export const followDuties = (tools: DutyTools): Duty[] => [
  { name: 'follows.repaired', run: (window) => repair(tools, window) },
]

async function repair({ shards, clock, log }: DutyTools, window: ShardWindow): Promise<number> {
  const settled = {
    sql: 'max(followed_at, coalesce(ended_at, 0)) <= ?',
    values: [clock.now() - limits.repairAfterMs],
  }
  const { values: visits, failed } = await walk<EdgeRow | CountRow>(
    shards,
    {
      duty: 'follows',
      tables: [
        { name: 'follows', columns: EDGE_COLUMNS, where: settled },
        { name: 'followers', columns: EDGE_COLUMNS, where: settled },
        { name: 'follow_counts', columns: 'id, followers, following' },
      ],
      rowsMax: await rowsMax(shards, window),
      statementsPerShard: STATEMENTS_PER_SHARD,
    },
    window,
  )
  const onFailure = ({ shard, error }: ShardFailure) => log.error('follows.not-checked', { shard, error })
  failed.forEach(onFailure)
  const found = await compare(shards, visits)
  const affordable = Math.floor((window.budget?.left ?? Number.POSITIVE_INFINITY) / STATEMENTS_PER_REPAIR)
  const lost = found.lost.slice(0, affordable)
  const raised = await raise(shards, found.unfounded.slice(0, affordable - lost.length), clock.now())
  const undone = await deliver({ shards, clock }, [...lost, ...raised.edges])
  const repaired = [...lost, ...raised.edges].filter((edge) => !undone.has(edge))
  if (repaired.length > 0)
    log.warn('follows.edges-repaired', { count: repaired.length, edges: repaired.slice(0, 10).map(sideOf).join(' ') })
  const reasons = [...found.reasons, ...raised.reasons, ...undone.values()]
  if (reasons.length > 0) log.warn('follows.not-repaired', { edges: reasons.length, reason: String(reasons[0]) })
  // If it was too much for one turn, the next one reads the same rows, and fewer of them differ.
  if (found.lost.length + found.unfounded.length > affordable) return repaired.length
  return repaired.length + (await workOff(visits, finish, onFailure))
}

/** The number of rows whose other sides can be read with half of the budget. */
async function rowsMax(shards: Shards, { budget, size }: ShardWindow): Promise<number> {
  if (!budget) return limits.repairRowsMax
  const all = (await shards.map()).shards.length
  const visits = Math.max(1, Math.min(size, all, Math.floor(budget.left / STATEMENTS_PER_SHARD)))
  const questions = Math.floor((budget.left - (visits * STATEMENTS_PER_SHARD) / 2) / 2 / STATEMENTS_PER_QUESTION)
  return questions >= all ? limits.repairRowsMax : Math.max(1, Math.floor(questions / visits))
}

type Visit = WalkedRows<EdgeRow | CountRow>

/** The edges among the rows of these tables. */
const edgesOf = (visits: Visit[], name: string): EdgeRow[] =>
  visits.flatMap(({ table, rows }) => (table === name ? rows.filter((row) => 'version' in row) : []))

/**
 * `lost`: versions of followers' sides that the followees' sides lack. `unfounded`: followees' sides that are newer
 * than the followers' sides, or have none.
 */
async function compare(shards: Shards, visits: Visit[]) {
  const [sides, otherSides] = [edgesOf(visits, 'follows'), edgesOf(visits, 'followers')]
  const copies = await find(shards, 'followers', sides, otherSideOf)
  const truths = await find(shards, 'follows', otherSides, sideOf)
  const lost: Edge[] = copies.pairs.flatMap(([side, copy]) =>
    (copy ? copy.version < side.version : side.endedAt === null) ? side : [],
  )
  const unfounded: Edge[] = []
  for (const [copy, side] of truths.pairs) {
    if (side && side.version > copy.version) lost.push(side)
    else if (side ? side.version < copy.version : copy.endedAt === null) unfounded.push(copy)
  }
  return { lost, unfounded, reasons: [...copies.reasons, ...truths.reasons] }
}

/** Each edge with its other side, or null, by one exact query per shard. */
async function find(shards: Shards, table: 'follows' | 'followers', edges: EdgeRow[], keyOf: (edge: Edge) => string) {
  const { done, answers, failed } = await shards.group(
    edges.map((edge) => ({ key: keyOf(edge), edge })),
    { keyspace: 'users', operation: 'follows.compare', isRead: true },
    (database, some) => ({ found: findEdges(database, table, some) }),
  )
  const known = new Map(answers.flatMap(({ found }) => found.results.map((row) => [row.id, row])))
  return {
    pairs: done.map(({ key, edge }) => [edge, known.get(key) ?? null] as const),
    reasons: [...failed.values()],
  }
}

/** Gives followers' sides a version above the followees' sides. Resolves to them, and to the reasons of failures. */
async function raise(shards: Shards, copies: Edge[], now: number) {
  const { answers, failed } = await shards.group(
    copies.map((edge) => ({ ...edge, key: sideOf(edge) })),
    { keyspace: 'users', operation: 'follows.raise' },
    (database, some) => ({
      raised: database.prepare(RAISE).bind(JSON.stringify(some), now),
      edges: findEdges(database, 'follows', some),
    }),
  )
  return { edges: answers.flatMap(({ edges }) => edges.results), reasons: [...failed.values()] }
}

/** Keeps the position behind the rows, after counting users again. Resolves to how many counts were wrong. */
async function finish({ shard, table, rows, advance }: Visit): Promise<number> {
  if (table !== 'follow_counts') {
    await advance(rows)
    return 0
  }
  const weightOf = (row: EdgeRow | CountRow) => ('followers' in row ? row.followers + row.following : 0)
  const counted = upTo(rows, limits.repairCountedRowsMax, weightOf)
  const { results } = await shard.run(
    recount(shard.ownedHere('follow_counts.id')),
    JSON.stringify(counted.map(({ id }) => id)),
  )
  await advance(counted)
  return results.length
}
