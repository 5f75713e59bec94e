import { limits } from '../../core/limits.ts'

/** A lease may start from a data centre's copy of the map, which is up to 10 s old. One second more for clock skew. */
export const MAP_COPY_MS = limits.mapDataCentreSecondsMax * 1_000 + limits.moveLeaseMarginMs
