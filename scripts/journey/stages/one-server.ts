import { readAll, type Stage, uncached } from '../stage.ts'

export const oneServer: Stage = {
  number: 1,
  title: 'One server for everything',
  adds: 'the whole application; no redundancy, a fixed ceiling',
  setting: 'npm run dev -- --shards 1, JOBS=inline',
  options: { shards: 1, webs: 1, vars: { JOBS: 'inline', ...uncached } },
  async show(cluster, load, people, expect) {
    cluster.instance(0).fail('crash')
    const down = await readAll(load, people)
    await cluster.restart()
    await cluster.instance(0).start()
    const back = await readAll(load, people)
    expect(down.failed === down.asked, 'without its one server, every request fails')
    expect(back.failed === 0, 'after the restart, all data is there')
    return [
      `server stopped: ${down.failed} of ${down.asked} requests failed`,
      `server restarted: ${back.failed} of ${back.asked} failed; no data was lost`,
    ]
  },
}
