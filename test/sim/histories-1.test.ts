/** Real databases, real signatures, the real driver; only disks, clocks, the network and time are simulated. */
import { testHistories } from "./histories.ts";

testHistories(0);
