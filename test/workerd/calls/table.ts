import { nounRoutes, testNouns } from '../../support/noun-routes.ts'
import type { Who } from '../../support/nouns.ts'

/**
 * The calls of a warm isolate before it has answered. Work after the response (the relay, the map's refresh) is not
 * counted.
 */
export interface Row {
  route: string
  who: Who
  /** Queries or batches. */
  d1: number
  /** Reads, writes and deletions, including those that the answer does not wait for. */
  kv: number
  directory: number
  why: string
}

const row = (route: string, who: Who, d1: number, kv: number, why: string): Row => ({
  route,
  who,
  d1,
  kv,
  directory: 0,
  why,
})

/** One call of the directory, which keeps the records of moves, and no other call. A separate call wakes a mover. */
const ofRecords = (route: string, why: string): Row => ({ ...row(route, 'operator', 0, 0, why), directory: 1 })

/** The directory's current answer, and then one query to each shard. */
const ofShards = (route: string, directory: number, why: string): Row => ({
  ...row(route, 'operator', 2, 0, why),
  directory,
})

/** One shard: its change at the directory, and its current numbers. */
const ofShard = (route: string, why: string): Row => ({ ...row(route, 'operator', 1, 0, why), directory: 2 })

const rows: Row[] = [
  row('GET /healthz', 'visitor', 0, 0, 'says only that the isolate is alive'),
  {
    ...row('GET /readyz', 'visitor', 2, 1, 'checks every dependency: one query per shard (two here), and one key'),
    directory: 1,
  },
  row('ALL /assets/*', 'visitor', 0, 0, 'the CDN, the bundle and R2 only'),
  row('GET /api/openapi.json', 'visitor', 0, 0, 'generated from the routes'),
  row(
    'POST /api/v1/accounts',
    'visitor',
    4,
    1,
    'reserve the e-mail address, reserve the handle, commit, read own profile; the session’s copy is put',
  ),
  row(
    'POST /api/v1/sessions',
    'visitor',
    4,
    1,
    'the claim names the account, count the attempt and read it, insert the session, read own profile; the session’s copy is put',
  ),
  row('GET /api/v1/sessions', 'bearer', 1, 1, 'the session’s copy, the list'),
  row('DELETE /api/v1/sessions', 'bearer', 1, 1, 'the session’s copy, one batch with the session’s proof'),
  row(
    'DELETE /api/v1/sessions/:id',
    'bearer',
    1,
    2,
    'the session’s copy, one batch; the ended session’s copy is deleted',
  ),
  row(
    'POST /api/v1/email-verifications',
    'bearer',
    2,
    1,
    'the session’s copy, read the account, one batch of token and outbox row',
  ),
  row(
    'POST /api/v1/email-verifications/:token',
    'visitor',
    1,
    0,
    'one batch: the token names the shard, which checks it',
  ),
  row(
    'POST /api/v1/password-resets',
    'visitor',
    1,
    0,
    'waits for nothing: the look-up has started when the answer is sent',
  ),
  row(
    'POST /api/v1/password-resets/:token',
    'visitor',
    2,
    1,
    'read token and account, one batch; the ended session’s copy is deleted',
  ),
  row('GET /api/v1/me', 'bearer', 1, 1, 'the session’s copy, own profile'),
  row(
    'GET /api/v1/me',
    'bearer, not met in a minute',
    2,
    1,
    'the session’s copy, the session’s row because its stamp is old, own profile',
  ),
  row('PATCH /api/v1/me', 'bearer', 2, 1, 'the session’s copy, one batch, read own profile'),
  row('PUT /api/v1/me/password', 'bearer', 2, 1, 'the session’s copy, count the attempt and read the hash, one batch'),
  row(
    'PUT /api/v1/me/handle',
    'bearer',
    5,
    1,
    'the session’s copy, read handle and session, read the old claim, reserve the new one, one batch, read own profile',
  ),
  row(
    'PUT /api/v1/me/email',
    'bearer',
    3,
    1,
    'the session’s copy, count the attempt and read the hash, read the claim, one batch of token and outbox row',
  ),
  row(
    'POST /api/v1/email-changes/:token',
    'visitor',
    5,
    0,
    'read token and address, read earlier attempts and the old claim, reserve the new claim, one batch',
  ),
  row('GET /api/v1/users/:handle', 'visitor', 2, 0, 'the claim names the user, the user’s shard has the profile'),
  ofShards('GET /operator/v1/shards', 1, 'the current map, and one query per shard: two here'),
  ofShard(
    'POST /operator/v1/shards',
    'the directory adds it (it was already there), the map, and the one shard’s numbers',
  ),
  ofShard('PATCH /operator/v1/shards/:id', 'the directory changes it, the map, and the one shard’s numbers'),
  ofRecords('DELETE /operator/v1/shards/:id', 'the directory deletes it'),
  ofRecords('POST /operator/v1/shards/:id/drain', 'the directory plans'),
  ofRecords('POST /operator/v1/rebalance', 'the directory plans'),
  ofRecords('GET /operator/v1/keyspaces', 'the directory lists them'),
  ofRecords('POST /operator/v1/keyspaces/:name/place', 'the directory plans'),
  row('GET /operator/v1/backfills', 'operator', 1, 0, 'the pauses; two more per backfill, of which there is none here'),
  row('POST /operator/v1/backfills/:name', 'operator', 0, 0, 'there is none here; otherwise four'),
  row('PATCH /operator/v1/backfills/:name', 'operator', 0, 0, 'there is none here; otherwise four'),
  row('GET /operator/v1/users', 'operator', 2, 0, 'SCATTER: one query per shard (two here)'),
  row('GET /operator/v1/dead-letters', 'operator', 2, 0, 'SCATTER: one query per shard (two here)'),
  row('POST /operator/v1/dead-letters/:id/redrive', 'operator', 1, 0, 'one batch in the letter’s shard'),
  row(
    'POST /operator/v1/dead-letters/redrive',
    'operator',
    6,
    0,
    'SCATTER: the letters, a batch per shard, and SCATTER: how many are too old; two shards here',
  ),
  row('POST /operator/v1/dead-letters/discard', 'operator', 4, 0, 'SCATTER: the letters, and a batch per shard'),
  row('GET /operator/v1/jobs/kinds', 'operator', 3, 0, 'one query per shard (two here), and what is paused'),
  row('PATCH /operator/v1/jobs/kinds/:kind', 'operator', 4, 0, 'the kinds, and the pause'),
  row('GET /operator/v1/jobs/queues', 'operator', 1, 0, 'what is paused; the queues are asked, too'),
  row('PATCH /operator/v1/jobs/queues/:queue', 'operator', 1, 0, 'the pause; the queue is asked, too'),
  ofShards('GET /operator/v1/migrations', 1, 'the current map, and one query per shard: two here'),
  {
    ...row('POST /operator/v1/probe', 'operator', 36, 0, 'the current map, and one batch per case and shard: two here'),
    directory: 1,
  },
  row('GET /operator/v1/replicas', 'operator', 8, 0, 'four reads per shard: two here; they ask no router'),
  row(
    'POST /operator/v1/imports',
    'operator',
    8,
    0,
    'however many users: find them, reserve their claims, commit and confirm, each in one batch per shard (two here)',
  ),
  row('POST /operator/v1/imports/verifications', 'operator', 4, 0, 'the users, and the owners of their claims'),
  ofRecords('POST /operator/v1/moves', 'the directory plans; it asks the shards for their migrations'),
  ofRecords('GET /operator/v1/moves', 'a page of the records'),
  ofRecords('GET /operator/v1/moves/:id', 'a row of the records'),
  ofRecords('POST /operator/v1/moves/:id/abort', 'the record is changed, and the mover does the rest'),
  ofRecords('POST /operator/v1/moves/:id/reverse', 'like an abort'),
  ofRecords('POST /operator/v1/moves/:id/complete', 'like an abort'),
  ofRecords('GET /operator/v1/moves/:id/sides', 'a row of the records; the move’s own object asks both shards'),
  {
    ...row(
      'POST /operator/v1/moves/:id/resolve',
      'operator',
      0,
      0,
      'a row of the records, and its change; otherwise like its sides',
    ),
    directory: 2,
  },
  row('GET /', 'visitor', 0, 0, 'a page without data'),
  row('GET /', 'browser', 1, 1, 'the session’s copy, and whether its account exists, before the redirect to /home'),
  row('GET /signup', 'visitor', 0, 0, 'a page without data'),
  row('POST /signup', 'visitor', 3, 1, 'like the API, without reading the own profile'),
  row('GET /login', 'visitor', 0, 0, 'a page without data'),
  row('POST /login', 'visitor', 3, 1, 'like the API, without reading the own profile'),
  row('POST /logout', 'browser', 1, 2, 'the session’s copy, one batch; the ended session’s copy is deleted'),
  row('GET /settings', 'browser', 2, 1, 'the session’s copy; own profile and sessions, concurrently'),
  row('POST /settings/profile', 'browser', 3, 1, 'one batch, and then the page of settings'),
  row('POST /settings/avatar', 'browser', 3, 1, 'one batch to remove it, and then the page of settings'),
  row(
    'POST /settings/password',
    'browser',
    4,
    3,
    'like the API, and then the page of settings; the session is replaced, so one copy is deleted and one is put',
  ),
  row('POST /settings/handle', 'browser', 6, 1, 'like the API, and then the page of settings'),
  row('POST /settings/email', 'browser', 5, 1, 'like the API, and then the page of settings'),
  row('POST /settings/notices', 'browser', 3, 1, 'the session’s copy, one batch, and then the page of settings'),
  row('POST /settings/email-verification', 'browser', 4, 1, 'like the API, and then the page of settings'),
  row('POST /settings/sessions/end-others', 'browser', 1, 1, 'the session’s copy, one batch'),
  row(
    'POST /settings/sessions/:id/end',
    'browser',
    1,
    2,
    'the session’s copy, one batch; the ended session’s copy is deleted',
  ),
  row('GET /verify-email/:token', 'visitor', 0, 0, 'asks for a click first'),
  row('POST /verify-email/:token', 'visitor', 1, 0, 'like the API'),
  row('GET /confirm-email/:token', 'visitor', 0, 0, 'asks for a click first'),
  row('POST /confirm-email/:token', 'visitor', 5, 0, 'like the API'),
  row('GET /unsubscribe/:token', 'visitor', 0, 0, 'asks for a click first'),
  row('POST /unsubscribe/:token', 'visitor', 1, 0, 'one update: the signed link names the user'),
  row('GET /dev/mails', 'visitor', 0, 1, 'only on localhost: the list of kept mails, of which there are none here'),
  row('GET /dev/mails/:id', 'visitor', 0, 1, 'only on localhost: one mail'),
  row('GET /forgot-password', 'visitor', 0, 0, 'a page without data'),
  row('POST /forgot-password', 'visitor', 1, 0, 'like the API'),
  row('GET /reset-password/:token', 'visitor', 0, 0, 'asks for the password first'),
  row('POST /reset-password/:token', 'visitor', 2, 1, 'like the API'),
  row('GET /:handle{@[A-Za-z0-9_]+}', 'visitor', 2, 0, 'the claim, the profile'),
  row(
    'GET /:handle{@[A-Za-z0-9_]+}',
    'browser',
    3,
    1,
    'the same, and the session’s copy and the viewer for the page’s header',
  ),
]

const nounRows = nounRoutes.flatMap(({ route, calls }) =>
  calls.map(({ who, d1, kv, why }) => row(route, who, d1, kv, why)),
)

/** The row, with the calls that other nouns add. */
function withAdditions(given: Row): Row {
  const row = { ...given }
  for (const { route, d1, kv, why } of testNouns.flatMap(({ adds = [] }) => adds))
    if (route === given.route) {
      row.d1 += d1
      row.kv += kv
      row.why += `, ${why}`
    }
  return row
}

/**
 * One row for each route and page, and several if the client makes a difference. A noun may add its own
 * (test/support/nouns). A higher figure is a decision: it needs an edit there and a page in docs/decisions/ that says
 * what it buys.
 */
export const table: Row[] = [...rows, ...nounRows].map(withAdditions)
