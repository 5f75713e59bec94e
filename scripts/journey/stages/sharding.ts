import { table } from '../../../src/cli/shell/table.ts'
import { generatedUsers, POPULATION, shardKeys, spreadOf, spreadRow, spreadsHead } from '../shard-keys.ts'
import { type Expect, readAll, type Stage, uncached } from '../stage.ts'
import { operatorVars, showVerticalSharding } from '../vertical-sharding.ts'

export const sharding: Stage = {
  number: 9,
  title: 'Sharding',
  adds: 'storage and write rate grow with the number of databases; a failed database affects only its share of the users',
  setting: 'npm run dev -- --shards 4',
  options: { shards: 4, webs: 1, vars: { ...uncached, ...operatorVars } },
  async show(cluster, load, people, expect) {
    const place = (id: string) => Math.floor((Number.parseInt(id.slice(0, 4), 16) * 4) / 65_536)
    const spread = [0, 1, 2, 3].map((shard) => people.filter(({ id }) => place(id) === shard).length)
    const lost = people.filter(({ id }) => place(id) === 3)
    const others = people.filter((person) => !lost.includes(person))
    await cluster.breakDown(0, 'SHARD_003')
    const hit = await readAll(load, lost)
    const spared = await readAll(load, others)
    await cluster.breakDown(0, '')
    const back = await readAll(load, people)
    expect(Math.max(...spread) - Math.min(...spread) <= 1, 'users are spread evenly')
    expect(hit.failed === hit.asked && hit.asked > 0, 'a lost shard’s users are unavailable')
    expect(spared.failed === 0, 'all other users are unaffected')
    expect(back.failed === 0, 'after the shard is restored, all data is there')
    return [
      `users per shard: ${spread.join(', ')}; an id names its shard, so routing needs no call (directory: 0.0 above, once warm)`,
      `shard 3 unavailable: ${hit.failed} of ${hit.asked} reads of its users failed, ${spared.failed} of ${spared.asked} of all others`,
      `shard 3 restored: ${back.failed} of ${back.asked} failed`,
      ...(await showVerticalSharding(cluster, load, people, expect)),
      ...compareShardKeys(expect),
    ]
  },
}

/** The fullest shard divided by the mean, with four shard keys. */
function compareShardKeys(expect: Expect): string[] {
  const users = generatedUsers()
  const spreads = shardKeys.map((key) => spreadOf(key, users))
  const [hash, ...others] = spreads
  expect(
    hash !== undefined && hash.rows < 1.25 && hash.newest < 1.25,
    'the hash of the user id spreads rows and sign-ups',
  )
  expect(
    others.every(({ rows, newest }) => rows > 1.5 && newest > 1.5),
    'each of the three other keys fills one shard faster than the others',
  )
  return [`fullest shard ÷ mean, ${POPULATION}:`, ...table(spreadsHead, spreads.map(spreadRow), 1).split('\n')]
}
