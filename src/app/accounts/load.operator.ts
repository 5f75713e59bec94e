import { parsed } from '../../cli/load/answer-body.ts'
import type { LoadNoun } from '../../cli/load/noun.ts'

const PASSWORD = 'seven quiet herons'

export const operator: LoadNoun = () => ({
  async signUp({ client, name }) {
    const json = { email: `${name}@example.com`, handle: name, password: PASSWORD }
    const ended = await client.request('POST', '/api/v1/accounts', { json, key: `sign-up-${name}` })
    if (ended.outcome === 'acknowledged') client.token = parsed<{ token: string }>(ended.body).token ?? null
    return ended
  },
})
