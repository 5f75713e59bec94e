import type { Cluster } from '../../cluster/cluster.ts'
import type { Person } from '../load.ts'
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
    for (const person of people) await storeDraft(cluster, person, 0)
    cluster.instance(0).fail('crash')
    const drafts = await draftsShown(cluster, people, [1, 2])
    const others = await everyoneReadsSelf(load, people, [1, 2])
    await cluster.instance(0).start()
    await cluster.breakDown(1, 'KV')
    const withoutKv = await everyoneReadsSelf(load, people, [1])
    await cluster.breakDown(1, '')
    await cluster.restart()
    const restarted = await everyoneReadsSelf(load, people, WEBS)
    expect(drafts === 2 * people.length, 'a draft is shown by the web servers that did not store it')
    expect(shared.failed === 0, 'a session created on one web server is valid on all')
    expect(others.failed === 0, 'with one web server lost, no request to the others fails')
    expect(withoutKv.failed === 0, 'without KV, sessions are read from the shard')
    expect(restarted.failed === 0, 'no session is in the memory of a web server')
    return [
      `sessions created on one web server, used on all: ${shared.failed} of ${shared.asked} failed`,
      `web-1 lost: ${others.failed} of ${others.asked} failed on the others; no user had to log in again`,
      `drafts stored by web-1, which is lost: shown by the others in ${drafts} of ${2 * people.length} requests`,
      `all web servers restarted: ${restarted.failed} of ${restarted.asked} failed; no user had to log in again`,
      `KV unavailable: ${withoutKv.failed} of ${withoutKv.asked} failed; the shard answered instead`,
    ]
  },
}

const draftOf = ({ handle }: Person): string => `A draft of ${handle}.`

async function storeDraft(cluster: Cluster, person: Person, web: number): Promise<void> {
  const { host, port } = cluster.instance(web).address
  await cluster.fetch(web, '/home/draft', {
    method: 'POST',
    headers: { cookie: person.cookie, origin: `http://${host}:${port}` },
    body: new URLSearchParams({ text: draftOf(person) }),
  })
}

/** The number of home pages that show the draft. */
async function draftsShown(cluster: Cluster, people: Person[], webs: number[]): Promise<number> {
  let shown = 0
  for (const person of people)
    for (const web of webs) {
      const home = await cluster.fetch(web, '/home', { headers: { cookie: person.cookie } })
      if ((await home.text()).includes(`${draftOf(person)}</textarea>`)) shown++
    }
  return shown
}
