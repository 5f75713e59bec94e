import { seededRandom, zipfRank } from '../../../src/cli/load/draws.ts'
import { table } from '../../../src/cli/shell/table.ts'
import { present } from '../../../src/core/present.ts'
import type { Cluster } from '../../cluster/cluster.ts'
import { steadyLoad } from '../../cluster/steady-load.ts'
import { type Load, type Person, percentile } from '../load.ts'
import { type Expect, type Stage, settle, startCluster, uncached } from '../stage.ts'

const WEBS = 3
const RATE = 120
const READS = 480
const POSTS_EACH = 6
const SEED = 16

/** One run of the spike. */
interface Spike {
  viral: Reads
  others: Reads
  /** Reads of the same posts that failed while the databases were unavailable. */
  failedWithoutDatabase: number
}

interface Reads {
  count: number
  d1: number
  p99: string
  failed: number
}

export const cache: Stage = {
  number: 5,
  title: 'A cache',
  adds: 'many readers of the same data cause few database reads; the database may even be unavailable for a while',
  setting: 'CACHE=on, which is the default; each web server’s memory, and KV',
  options: { shards: 2, webs: WEBS, vars: { CACHE: 'on' } },
  async show(cluster, load, _, expect) {
    const cached = await spike(cluster, load)
    const { cluster: other, load: otherLoad } = await startCluster({ shards: 2, webs: WEBS, vars: uncached })
    const plain = await spike(other, otherLoad).finally(() => other.close())
    return report(plain, cached, expect)
  },
}

/** Half of the readers read one viral post, and the others read the other posts by Zipf's law. */
async function spike(cluster: Cluster, load: Load): Promise<Spike> {
  const authors = await settle(load, 'spike', POSTS_EACH)
  const [viral, ...others] = authors.flatMap(({ posts }: Person) => posts)
  const draw = seededRandom(SEED)
  const otherPost = () => present(others[zipfRank(draw, others.length) - 1], 'a post')
  load.samples.length = 0
  await steadyLoad({
    rate: RATE,
    count: READS,
    inFlightMax: READS,
    async request(number) {
      const isViral = number % 2 === 0
      await load.readPost(isViral ? present(viral, 'a post') : otherPost(), isViral ? 'viral' : 'others')
    },
  })
  const samples = Map.groupBy(load.samples.splice(0), ({ kind }) => kind)
  const readsOf = (kind: string): Reads => {
    const all = present(samples.get(kind), kind)
    return {
      count: all.length,
      d1: all.reduce((sum, { calls }) => sum + calls.d1, 0),
      p99: percentile(
        all.map(({ ms }) => ms).sort((a, b) => a - b),
        0.99,
      ),
      failed: all.filter(({ status }) => status !== 200).length,
    }
  }
  for (let web = 0; web < WEBS; web++) await cluster.breakDown(web, 'SHARD_000,SHARD_001')
  let failedWithoutDatabase = 0
  for (let web = 0; web < WEBS; web++)
    if ((await load.readPost(present(viral, 'a post'), 'viral', web)).status !== 200) failedWithoutDatabase++
  return { viral: readsOf('viral'), others: readsOf('others'), failedWithoutDatabase }
}

function report(plain: Spike, cached: Spike, expect: Expect): string[] {
  expect(plain.viral.d1 === plain.viral.count, 'without the cache, each read of a post reads the database')
  expect(cached.viral.d1 <= WEBS, 'with the cache, each web server reads a viral post once')
  expect(
    cached.others.d1 < plain.others.d1 / 2,
    'with the cache, fewer than half of the other reads reach the database',
  )
  expect(
    [plain, cached].every(({ viral, others }) => viral.failed + others.failed === 0),
    'no read fails',
  )
  expect(plain.failedWithoutDatabase === WEBS, 'without the cache, no post is read while the databases are unavailable')
  expect(
    cached.failedWithoutDatabase === 0,
    'with the cache, the viral post is read while the databases are unavailable',
  )
  const row = (what: string, reads: (spike: Spike) => Reads) => {
    const [before, after] = [reads(plain), reads(cached)]
    return [what, String(before.count), ...[before.d1, after.d1].map(String), before.p99, after.p99]
  }
  const rows = [
    row('of one viral post', ({ viral }) => viral),
    row('of the other posts (Zipf)', ({ others }) => others),
  ]
  return [
    ...table(['reads in a spike', 'n', 'D1 reads', 'cached', 'p99 ms', 'cached'], rows, 1).split('\n'),
    `databases unavailable: ${plain.failedWithoutDatabase} of ${WEBS} reads of the viral post failed; with the cache, ${cached.failedWithoutDatabase}`,
  ]
}
