import { everyoneReadsSelf, type Stage, uncached } from '../stage.ts'

const WEBS = [0, 1, 2]

export const statelessWebTier: Stage = {
  number: 7,
  title: 'A stateless web tier',
  adds: 'any web server serves any request; sessions are in KV and in the user’s shard',
  setting: 'three web servers on the same stores',
  options: { shards: 2, webs: WEBS.length, vars: uncached },
  async show(cluster, load, people, expect) {
    const shared = await everyoneReadsSelf(load, people, WEBS)
    cluster.instance(0).fail('crash')
    const others = await everyoneReadsSelf(load, people, [1, 2])
    await cluster.instance(0).start()
    await cluster.breakDown(1, 'KV')
    const withoutKv = await everyoneReadsSelf(load, people, [1])
    await cluster.breakDown(1, '')
    await cluster.restart()
    const restarted = await everyoneReadsSelf(load, people, WEBS)
    expect(shared.failed === 0, 'a session created on one web server is valid on all')
    expect(others.failed === 0, 'with one web server lost, no request to the others fails')
    expect(withoutKv.failed === 0, 'without KV, sessions are read from the shard')
    expect(restarted.failed === 0, 'no session is in the memory of a web server')
    return [
      `sessions created on one web server, used on all: ${shared.failed} of ${shared.asked} failed`,
      `web-1 lost: ${others.failed} of ${others.asked} failed on the others; no user had to log in again`,
      `all web servers restarted: ${restarted.failed} of ${restarted.asked} failed; no user had to log in again`,
      `KV unavailable: ${withoutKv.failed} of ${withoutKv.asked} failed; the shard answered instead`,
    ]
  },
}
