export type LiveLatency =
  | { readonly type: "skipped"; readonly reason: string }
  | {
      readonly type: "measured";
      readonly p50Ms: number;
      readonly p95Ms: number;
      readonly samples: number;
      readonly link: string;
    };
export const benchLiveLatency = async (samples: number): Promise<LiveLatency> => ({
  type: "skipped",
  reason: `not built ${samples}`,
});
