import { setTimeout as sleep } from 'node:timers/promises'
import { table } from '../../../src/cli/shell/table.ts'
import type { ReplicasPage } from '../../../src/console/shapes.ts'
import { present } from '../../../src/core/present.ts'
import type { Cluster } from '../../cluster/cluster.ts'
import type { MemberStatus, ReplicationStatus } from '../../cluster/replicated-worker.ts'
import type { Load, Person } from '../load.ts'
import { everyoneReadsSelf, type Stage, tally, uncached } from '../stage.ts'

const WEBS = 3
const LAG_MS = 1_500
const WRITES = 24
const READS = 300
// Over about the longest lag and, at the end, as fast as possible.
const LAST_WRITES = 12
const LAST_WRITES_APART_MS = 200
const FAST_WRITES = 4
const OPERATOR_TOKEN = 'the operators of the journey'

export const replicas: Stage = {
  number: 4,
  title: 'Replicas: the primary writes, the replicas read',
  adds: 'reads grow with the number of replicas, and continue while the primary is unavailable',
  setting: `REPLICAS=on; one shard with three replicas that lag by up to ${LAG_MS} ms (a double)`,
  options: {
    shards: 1,
    webs: WEBS,
    vars: { ...uncached, REPLICAS: 'on', JOBS: 'inline', OPERATOR_TOKEN },
    lagMs: LAG_MS,
  },
  async show(cluster, load, people, expect) {
    const withoutToken = await readOwnWrites(cluster, load, people, false)
    const withToken = await readOwnWrites(cluster, load, people, true)
    expect(withoutToken.stale > 0, 'without the token, some clients do not see their own write at once')
    expect(withToken.stale === 0, 'with the token, every client sees its own writes at once')

    const { fellBack } = await lateReads(cluster)
    const before = await cluster.replication('status')
    const posts = people.flatMap((person) => person.posts)
    for (let read = 0; read < READS; read++) await load.readPost(present(posts[read % posts.length], 'a post'))
    const after = await cluster.replication('status')
    const shares = sharesOf(before, after)
    const late = (await lateReads(cluster)).fellBack - fellBack
    expect(
      shares.every(({ reads, name }) => (name === 'primary' ? reads === late : reads > 0)),
      'all replicas answer visitors’ reads, and the primary answers only those past their deadline',
    )

    const lost = await loseAndPromote(cluster, load, people)
    expect(lost.reads.failed === 0, 'without the primary, reads continue')
    expect(
      lost.writes.failed === lost.writes.asked && lost.writes.retryAfter === lost.writes.asked,
      'without the primary, writes answer 503 with Retry-After',
    )
    expect(lost.readsAfter.failed === 0 && lost.writesAfter.failed === 0, 'after the promotion, both work')
    expect(lost.isAsReported, 'the promotion loses what it reports, and nothing else')
    expect(lost.missing.length > 0, 'the replica that is furthest behind lacks some acknowledged writes')
    expect(lost.oldestMissingMs <= LAG_MS, 'it loses no write that is older than the longest lag')
    return [
      ...table(
        ['a post is read at once by its author', 'n', 'not found', 'waited', 'fell back to the primary'],
        [
          ['without the token', ...figures(withoutToken)],
          ['with the token', ...figures(withToken)],
        ],
        1,
      ).split('\n'),
      `${READS} visitors’ reads: ${shares.map(({ name, reads }) => `${name} ${reads}`).join(', ')}`,
      `primary lost: ${lost.reads.failed} of ${lost.reads.asked} visitors’ reads failed, and ${lost.ownReads.failed} of ${lost.ownReads.asked} of signed-in users; ${lost.writes.failed} of ${lost.writes.asked} writes answered 503, each with Retry-After`,
      `${lost.promoted} promoted, which was furthest behind: ${lost.readsAfter.failed} of ${lost.readsAfter.asked} reads failed, ${lost.writesAfter.failed} of ${lost.writesAfter.asked} writes failed`,
      `acknowledged writes lost: ${lost.missing.length} of the last ${LAST_WRITES}, all within ${lost.oldestMissingMs} ms of the loss (docs/replication.md)`,
    ]
  },
}

interface OwnReads {
  reads: number
  stale: number
  waits: number
  fellBack: number
}

const figures = ({ reads, stale, waits, fellBack }: OwnReads): string[] => [reads, stale, waits, fellBack].map(String)

/** Each author writes a post and reads it at once through another web server, with or without the causal token. */
async function readOwnWrites(cluster: Cluster, load: Load, people: Person[], hasToken: boolean): Promise<OwnReads> {
  const before = await lateReads(cluster)
  const kind = `read own post ${hasToken ? 'with' : 'without'} the token`
  let stale = 0
  for (let write = 0; write < WRITES; write++) {
    const person = present(people[write % people.length], 'a person')
    const answer = await load.post(person, `Seen at once, ${kind}, ${write}`)
    const headers = {
      authorization: `Bearer ${person.token}`,
      ...(hasToken ? { 'x-causal-token': answer.headers.get('x-causal-token') ?? '' } : {}),
    }
    const read = await load.send(kind, `/api/v1/posts/${person.posts.at(-1)}`, { headers })
    if (read.status === 404) stale++
    else if (read.status !== 200) throw new Error(`${kind} answered ${read.status}`)
  }
  const after = await lateReads(cluster)
  return { reads: WRITES, stale, waits: after.waits - before.waits, fellBack: after.fellBack - before.fellBack }
}

/** Reads that had to wait at a replica, and reads that went to the primary instead. */
async function lateReads(cluster: Cluster): Promise<{ waits: number; fellBack: number }> {
  const { replicas } = await cluster.replication('status')
  let fellBack = 0
  for (let web = 0; web < WEBS; web++) {
    const headers = { authorization: `Bearer ${OPERATOR_TOKEN}` }
    const answer = await cluster.fetch(web, '/operator/v1/replicas', { headers })
    fellBack += ((await answer.json()) as ReplicasPage).fellBack
  }
  return { waits: replicas.reduce((sum, { waits }) => sum + waits, 0), fellBack }
}

/** Reads of each member between two moments. */
function sharesOf(before: ReplicationStatus, after: ReplicationStatus): { name: string; reads: number }[] {
  const readsIn = ({ primary, replicas }: ReplicationStatus, name: string) =>
    [primary, ...replicas].find((member: MemberStatus) => member.name === name)?.reads ?? 0
  return [after.primary, ...after.replicas].map(({ name, reads }) => ({ name, reads: reads - readsIn(before, name) }))
}

async function loseAndPromote(cluster: Cluster, load: Load, people: Person[]) {
  // What every replica has by now.
  const old = people.flatMap((person) => person.posts)
  await sleep(LAG_MS)
  const acknowledged: { id: string; at: number }[] = []
  for (let write = 0; write < LAST_WRITES; write++) {
    const person = present(people[write % people.length], 'a person')
    if ((await load.post(person, `Just before the loss, ${write}`)).status === 201)
      acknowledged.push({ id: present(person.posts.at(-1), 'a post'), at: performance.now() })
    if (write < LAST_WRITES - FAST_WRITES) await sleep(LAST_WRITES_APART_MS)
  }
  const lostAt = performance.now()
  await cluster.replication('lose')
  const reads = tally(await readPosts(load, old))
  const ownReads = await everyoneReadsSelf(load, people, [0, 1, 2])
  const writes = tally(await writeAll(load, people, 'While it is lost'))
  const { lost, primary } = await cluster.replication('promote')
  const readsAfter = tally(await readPosts(load, old))
  const writesAfter = tally(await writeAll(load, people, 'After the promotion'), 201)
  const found = await readPosts(
    load,
    acknowledged.map(({ id }) => id),
  )
  const missing = acknowledged.filter((_, index) => found[index]?.status === 404)
  const isAsReported = acknowledged.every(
    (post) => missing.includes(post) === lost.some((text) => text.includes(post.id)),
  )
  const oldestMissingMs = Math.ceil(Math.max(0, ...missing.map(({ at }) => lostAt - at)))
  return {
    promoted: primary.name,
    reads,
    ownReads,
    writes,
    readsAfter,
    writesAfter,
    isAsReported,
    missing,
    oldestMissingMs,
  }
}

async function readPosts(load: Load, ids: string[]): Promise<Response[]> {
  const answers: Response[] = []
  for (const id of ids) answers.push(await load.readPost(id))
  return answers
}

async function writeAll(load: Load, people: Person[], text: string): Promise<Response[]> {
  const answers: Response[] = []
  for (const person of people) answers.push(await load.post(person, `${text}, by ${person.handle}`))
  return answers
}
