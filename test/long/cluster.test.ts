import { afterEach, expect, test } from 'vitest'
import { expectNoLoss, loadDuringFailure, startWebServers, type WebServers } from '../support/web-servers.ts'

let servers: WebServers | null = null
afterEach(async () => {
  await servers?.close()
  servers = null
})

test.each(['crash', 'freeze', 'mute'] as const)(
  '2,000 requests while a web server fails (%s), another joins, and the first returns: none fails',
  async (failure) => {
    servers = await startWebServers({ webs: 3, started: 4 })
    const report = await loadDuringFailure(servers, { count: 2_000, rate: 40, failure })
    expect(report.requests).toBeGreaterThanOrEqual(2_000)
    // The balancer itself sends a refused request to another web server.
    if (failure !== 'crash') expect(report.retriedWrites).toBeGreaterThan(0)
    await expectNoLoss(servers, report)
  },
)
