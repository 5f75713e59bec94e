import { createRoute, type OpenAPIHono, z } from '@hono/zod-openapi'
import { rfc3339 } from '../../core/clock.ts'
import { BanyanError } from '../../core/errors.ts'
import { isId, slotOf } from '../../core/ids.ts'
import { cancel, findRecord, type JobRecord } from '../../jobs/records.ts'
import type { Session } from '../../sessions/sessions.ts'
import { json, problems, signedIn, writeProblems } from '../../web/api.ts'
import type { Tiers, WebEnv } from '../../web/context.ts'
import { noBody } from '../../web/middleware/body.ts'
import { requireSession } from '../../web/middleware/session.ts'

const jobShape = z
  .object({
    id: z.string(),
    kind: z.string(),
    state: z.enum(['waiting', 'running', 'done', 'dead', 'cancelled']),
    progress: z.number().min(0).max(1),
    result: z.record(z.string(), z.unknown()).optional(),
    error: z.string().optional(),
    createdAt: z.string(),
  })
  .openapi('Job')

const params = z.object({ id: z.string() })
const oneJob = json(z.object({ job: jobShape }), 'The job')

const shapeOf = ({ result, error, createdAt, ...job }: JobRecord): z.infer<typeof jobShape> => ({
  ...job,
  ...(result && { result }),
  ...(error !== null && { error }),
  createdAt: rfc3339(createdAt),
})

/** A user's own jobs: those whose kind is tracked. */
export function jobRoutes(app: OpenAPIHono<WebEnv>): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/api/v1/jobs/{id}',
      security: signedIn,
      request: { params },
      responses: { 200: oneJob, ...problems(401, 404) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const job = await ownJob(c.get('tiers'), session, c.req.valid('param').id)
      return c.json({ job: shapeOf(job) }, 200)
    },
  )
  app.openapi(
    createRoute({
      method: 'delete',
      path: '/api/v1/jobs/{id}',
      middleware: noBody,
      security: signedIn,
      request: { params },
      responses: { 202: oneJob, ...writeProblems(401, 404, 409) },
    }),
    async (c) => {
      const session = await requireSession(c)
      const job = await cancelJob(c.get('tiers'), session, c.req.valid('param').id)
      return c.json({ job: shapeOf(job) }, 202)
    },
  )
}

/** Throws NOT_FOUND. */
async function ownJob({ shards }: Pick<Tiers, 'shards'>, { userId }: Session, id: string): Promise<JobRecord> {
  if (!isId(id) || slotOf(id) !== slotOf(userId)) throw notFound()
  const job = await findRecord(shards.of(id, { read: 'exact', operation: 'jobs.show' }), id, userId)
  if (!job) throw notFound()
  return job
}

/** Cancels what has not ended. A running attempt ends at its next step. Throws NOT_FOUND, CONFLICT. */
async function cancelJob(tiers: Pick<Tiers, 'shards' | 'sessions'>, session: Session, id: string): Promise<JobRecord> {
  const database = tiers.sessions.database(session, { operation: 'jobs.cancel' })
  const isCancelled = await cancel(database, id, session.userId)
  const job = await ownJob(tiers, session, id)
  if (!isCancelled) throw new BanyanError('CONFLICT', 'The job has ended, so it can’t be cancelled.')
  return job
}

const notFound = () => new BanyanError('NOT_FOUND', 'You have no job with this id. Its record is kept for 60 days.')
