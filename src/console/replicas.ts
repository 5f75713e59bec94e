import { createRoute, type OpenAPIHono } from '@hono/zod-openapi'
import { json, problems } from '../web/api.ts'
import type { WebEnv } from '../web/context.ts'
import { operatorsOnly } from '../web/middleware/operator-only.ts'
import type { OperatorsOf } from './context.ts'
import { replicasPageShape, replicasQueryShape } from './shapes.ts'

/** Shows which members of the databases answer this version's reads (src/sharding/replica-survey.ts). */
export function replicaRoutes(app: OpenAPIHono<WebEnv>, operators: OperatorsOf): void {
  app.openapi(
    createRoute({
      method: 'get',
      path: '/operator/v1/replicas',
      security: operatorsOnly,
      request: { query: replicasQueryShape },
      responses: {
        200: json(replicasPageShape, 'Which members of some databases answered reads, and the setting REPLICAS'),
        ...problems(401, 404, 422),
      },
    }),
    async (c) => {
      const { replicas, replicaCounts, surveyReplicas } = operators(c)
      return c.json({ replicas, ...replicaCounts, ...(await surveyReplicas(c.req.valid('query').after ?? null)) }, 200)
    },
  )
}
