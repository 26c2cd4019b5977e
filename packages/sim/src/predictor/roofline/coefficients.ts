/** Written by tools/fit-roofline.ts from profiles of microsoft/vidur (MIT licence): do not edit. Seconds, bytes per second. */
// biome-ignore-all format: generated
import type { DeviceCalibration } from "./calibration.ts";

export const calibrations: readonly DeviceCalibration[] = [
 {
  "device": "a100-80gb",
  "provenance": "fitted to 8352 products of compute/a100/meta-llama/Llama-2-7b-hf/mlp.csv, compute/a100/meta-llama/Llama-2-70b-hf/mlp.csv and network/a100_dgx of microsoft/vidur",
  "gemm": {
   "overhead": 0.000005116,
   "efficiency": 0.7451,
   "bandwidthEfficiency": 0.8852,
   "fill": 26.6,
   "sharpness": 1.547
  },
  "residuals": {
   "knots": [1,8,16,32,48,64,96,128,160,192,256,320,384,448,512,640,768,896,1024,1280,1536,1792,2048,2560,3072,4096],
   "shapes": [
    {
     "k": 512,
     "n": 4096,
     "percent": [-14,-8,-10,-12,-15,-17,-11,-10,-11,-8,-2,-1,-7,6,-1,-2,-5,-2,8,-2,2,0,0,0,3,-1]
    },
    {
     "k": 1024,
     "n": 4096,
     "percent": [-10,-1,-4,-6,-10,-6,-4,-10,-11,-4,5,-6,-12,2,-6,-2,-7,-8,4,-7,-2,-3,-4,-1,-2,0]
    },
    {
     "k": 1024,
     "n": 8192,
     "percent": [3,5,9,2,-3,-4,1,-6,46,28,18,-3,-10,12,-4,-12,-2,0,-5,-2,2,0,0,2,0,-1]
    },
    {
     "k": 1376,
     "n": 4096,
     "percent": [2,1,-1,4,-5,-4,0,-4,-4,4,4,-8,-15,2,-6,5,-5,-5,8,-9,-5,-8,-6,-6,-8,-8]
    },
    {
     "k": 2048,
     "n": 4096,
     "percent": [0,-1,-4,-4,-11,-9,2,-12,-7,0,20,6,-1,15,-7,-2,-4,-3,1,-6,-3,-2,-1,4,4,1]
    },
    {
     "k": 2048,
     "n": 8192,
     "percent": [5,7,4,2,0,-3,5,-5,-16,2,16,4,-3,22,10,-6,4,1,9,4,7,7,5,4,21,20]
    },
    {
     "k": 2752,
     "n": 4096,
     "percent": [3,2,-1,-2,-4,-8,2,-8,1,15,12,4,-4,12,-2,-4,-4,-4,1,-5,-9,-4,-6,-4,-6,-4]
    },
    {
     "k": 3584,
     "n": 8192,
     "percent": [5,5,4,2,-3,-6,1,-9,-13,3,19,10,-1,22,0,-8,-9,-7,-2,-7,-4,5,5,7,7,5]
    },
    {
     "k": 4096,
     "n": 1536,
     "percent": [8,3,8,8,11,10,19,14,12,8,1,13,3,5,3,27,12,14,-12,5,-2,10,-3,-4,-11,-4]
    },
    {
     "k": 4096,
     "n": 2752,
     "percent": [6,13,10,8,8,6,10,0,6,0,5,15,7,-1,19,14,10,7,0,-5,-4,3,-4,-6,-5,-4]
    },
    {
     "k": 4096,
     "n": 3072,
     "percent": [5,9,6,0,3,-5,7,-1,-2,-4,0,15,4,-10,8,8,0,-1,-9,-9,-8,-4,-6,-4,-6,-4]
    },
    {
     "k": 4096,
     "n": 4096,
     "percent": [1,-1,0,-2,-7,-9,-4,-13,-9,4,0,3,-5,6,-1,-1,0,8,11,6,2,3,2,0,-1,-1]
    },
    {
     "k": 4096,
     "n": 5504,
     "percent": [-2,-2,-3,-7,-8,-11,-10,-16,1,6,9,42,24,17,-3,-10,-6,-8,-5,-12,-3,-7,-5,2,4,3]
    },
    {
     "k": 4096,
     "n": 6144,
     "percent": [-5,-3,-6,-2,-5,-12,-14,-19,4,2,1,30,13,7,-2,-1,-3,-2,-10,-1,-4,2,-3,6,8,6]
    },
    {
     "k": 4096,
     "n": 8192,
     "percent": [1,1,-2,-5,-8,-11,-4,-14,-17,2,22,14,3,31,14,6,6,4,9,1,4,12,12,11,9,9]
    },
    {
     "k": 4096,
     "n": 11008,
     "percent": [-4,-3,-5,-7,-10,-15,24,15,5,1,-8,3,-4,6,-8,-16,-5,-8,-6,-8,2,5,4,5,5,5]
    },
    {
     "k": 4096,
     "n": 12288,
     "percent": [0,-3,-5,-8,-5,-15,-19,-23,17,-7,-15,-8,-13,-1,-5,10,-1,7,-1,2,8,11,8,6,6,6]
    },
    {
     "k": 4096,
     "n": 22016,
     "percent": [2,-2,-5,-8,-12,-15,-6,-10,4,-7,-4,-9,-16,-2,-7,-9,-5,-4,2,-2,0,-3,4,6,5,6]
    },
    {
     "k": 5504,
     "n": 4096,
     "percent": [3,3,3,1,-4,-7,4,-3,32,5,-3,-10,-18,8,-6,-11,-12,-6,-6,-5,-7,-4,10,0,-1,-3]
    },
    {
     "k": 7168,
     "n": 8192,
     "percent": [4,7,7,-3,-8,-12,-6,-14,-19,-8,-14,-14,-20,1,-4,-8,-2,-1,0,-2,-1,6,-2,-2,-3,-4]
    },
    {
     "k": 8192,
     "n": 1280,
     "percent": [9,8,4,0,0,8,3,0,11,11,4,9,2,13,20,15,12,8,5,-3,4,2,-2,-5,0,-3]
    },
    {
     "k": 8192,
     "n": 2560,
     "percent": [6,9,12,9,2,0,13,2,37,7,14,13,4,0,-2,-6,5,3,7,3,13,13,13,0,1,-2]
    },
    {
     "k": 8192,
     "n": 5120,
     "percent": [8,7,7,2,-1,-5,-1,-6,13,2,-5,12,4,4,2,-2,14,3,2,4,5,4,-3,3,-1,0]
    },
    {
     "k": 8192,
     "n": 7168,
     "percent": [4,4,4,-2,-6,-10,-3,-9,-10,0,-6,-1,-9,10,1,-5,-5,-7,-4,-6,1,-8,1,-4,-7,-5]
    },
    {
     "k": 8192,
     "n": 8192,
     "percent": [9,9,5,3,-3,-5,-2,-7,2,3,-2,4,-5,15,7,3,5,4,5,2,4,10,3,2,0,1]
    },
    {
     "k": 8192,
     "n": 10240,
     "percent": [8,8,8,1,-4,-10,-6,-14,20,6,-1,19,8,1,6,3,11,5,3,5,2,7,-1,3,0,0]
    },
    {
     "k": 8192,
     "n": 14336,
     "percent": [5,5,4,1,-4,-8,-8,-14,11,1,-5,-4,-10,2,0,0,2,0,-1,3,-1,-3,-4,-5,-5,-5]
    },
    {
     "k": 8192,
     "n": 28672,
     "percent": [1,1,-1,2,-3,-7,-4,-10,9,-6,-12,0,-7,1,8,4,2,0,0,-1,-1,-3,-3,-3,-5,-4]
    },
    {
     "k": 8192,
     "n": 57344,
     "percent": [5,5,4,-1,-5,-9,-5,-14,7,-6,-12,2,-7,2,6,2,0,-1,0,-2,-1,-1,-3,-3,-3,-3]
    },
    {
     "k": 11008,
     "n": 4096,
     "percent": [3,3,2,0,-4,-6,2,-3,38,-6,-14,-12,-18,-1,-3,-4,-2,5,4,8,2,7,3,0,2,0]
    },
    {
     "k": 14336,
     "n": 8192,
     "percent": [0,1,0,-7,-9,-9,-14,-21,-5,-11,-17,-7,-14,-1,-1,-5,3,4,3,-2,0,0,1,-1,-2,-3]
    },
    {
     "k": 28672,
     "n": 8192,
     "percent": [3,1,-1,-3,-9,-13,-20,-26,0,-7,-12,2,-7,-2,-1,-4,5,2,3,-1,-1,-1,-1,-2,-3,-3]
    }
   ]
  },
  "elementwise": {
   "norm": {
    "overhead": 0.000002296,
    "efficiency": 0.4084
   },
   "add": {
    "overhead": 0.000001083,
    "efficiency": 0.9918
   },
   "act": {
    "overhead": 0.000001933,
    "efficiency": 0.4974
   },
   "rope": {
    "overhead": 0.00000218,
    "efficiency": 0.4705
   },
   "emb": {
    "overhead": 0.000002396,
    "efficiency": 0.1576
   },
   "kv_save": {
    "overhead": 0.000004149,
    "efficiency": 0.7215
   }
  },
  "allReduce": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00007213,
    "rate": 5917000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00004333,
    "rate": 169900000000
   },
   {
    "workers": 4,
    "perServer": 2,
    "overhead": 0.00006212,
    "rate": 6528000000
   },
   {
    "workers": 4,
    "perServer": 4,
    "overhead": 0.00004374,
    "rate": 173900000000
   },
   {
    "workers": 8,
    "perServer": 4,
    "overhead": 0.0002137,
    "rate": 21780000000
   },
   {
    "workers": 8,
    "perServer": 8,
    "overhead": 0.00004856,
    "rate": 154500000000
   },
   {
    "workers": 16,
    "perServer": 8,
    "overhead": 0.0002285,
    "rate": 16580000000
   }
  ],
  "sendRecv": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00002796,
    "rate": 7761000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00001386,
    "rate": 312300000000
   }
  ],
  "unfitted": [
   "a100-80gb: decode attention and KV writes have the overhead and share of bandwidth measured on A30",
   "a100-80gb: prefill attention at 0.5 of the tensor peak (FlashAttention papers)"
  ],
  "errors": {
   "products, profiled shapes": {
    "mape": 3.899,
    "p50": 2.686,
    "p90": 8.575,
    "n": 8352
   },
   "products, held out": {
    "mape": 6.222,
    "p50": 4.694,
    "p90": 13.53,
    "n": 8352
   },
   "sum of a layer's products, held out": {
    "mape": 4.313,
    "p50": 3.19,
    "p90": 9.434,
    "n": 2072
   },
   "norm": {
    "mape": 13.74,
    "p50": 13.2,
    "p90": 21.96,
    "n": 2088
   },
   "add": {
    "mape": 11.37,
    "p50": 9.167,
    "p90": 24.73,
    "n": 2088
   },
   "act": {
    "mape": 7.71,
    "p50": 4.181,
    "p90": 19.07,
    "n": 2088
   },
   "rope": {
    "mape": 8.953,
    "p50": 6.764,
    "p90": 18.55,
    "n": 2088
   },
   "emb": {
    "mape": 5.477,
    "p50": 3.974,
    "p90": 10.72,
    "n": 2088
   },
   "all_reduce 2 devices, 1 per server": {
    "mape": 2.279,
    "p50": 0.5772,
    "p90": 2.393,
    "n": 994
   },
   "all_reduce 2 devices, 2 per server": {
    "mape": 6.065,
    "p50": 1.887,
    "p90": 12.04,
    "n": 994
   },
   "all_reduce 4 devices, 2 per server": {
    "mape": 21.39,
    "p50": 8.906,
    "p90": 64.12,
    "n": 994
   },
   "all_reduce 4 devices, 4 per server": {
    "mape": 13.44,
    "p50": 6.109,
    "p90": 21.9,
    "n": 994
   },
   "all_reduce 8 devices, 4 per server": {
    "mape": 7.55,
    "p50": 2.269,
    "p90": 18.74,
    "n": 994
   },
   "all_reduce 8 devices, 8 per server": {
    "mape": 12.08,
    "p50": 9.135,
    "p90": 18.56,
    "n": 994
   },
   "all_reduce 16 devices, 8 per server": {
    "mape": 25.97,
    "p50": 10.23,
    "p90": 47.24,
    "n": 994
   },
   "send_recv 2 devices, 1 per server": {
    "mape": 1.482,
    "p50": 0.7474,
    "p90": 2.21,
    "n": 994
   },
   "send_recv 2 devices, 2 per server": {
    "mape": 9.33,
    "p50": 5.505,
    "p90": 22.28,
    "n": 994
   }
  },
  "attention": {
   "decode": {
    "overhead": 0.0000213,
    "efficiency": 0.799
   },
   "prefill": {
    "overhead": 0.0000534,
    "efficiency": 0.5,
    "kvEfficiency": 0.4893,
    "skipsMasked": true
   }
  }
 },
 {
  "device": "h100",
  "provenance": "fitted to 4176 products of compute/h100/meta-llama/Llama-2-70b-hf/mlp.csv and network/h100_dgx of microsoft/vidur",
  "gemm": {
   "overhead": 0.000008393,
   "efficiency": 0.739,
   "bandwidthEfficiency": 0.9579,
   "fill": 121.3,
   "sharpness": 8.311
  },
  "residuals": {
   "knots": [1,8,16,32,48,64,96,128,160,192,256,320,384,448,512,640,768,896,1024,1280,1536,1792,2048,2560,3072,4096],
   "shapes": [
    {
     "k": 1024,
     "n": 8192,
     "percent": [-34,-34,-34,-35,-28,-29,-2,-25,-1,-2,-10,2,-8,-12,4,4,4,-1,-2,-8,-11,-9,-9,-10,-4,-6]
    },
    {
     "k": 2048,
     "n": 8192,
     "percent": [-20,-26,-24,-6,-11,-12,6,-12,24,1,-16,-3,-11,-16,27,15,16,21,2,-6,-7,-8,-2,1,-1,-3]
    },
    {
     "k": 3584,
     "n": 8192,
     "percent": [-18,-17,-16,0,-8,-9,12,-7,51,18,-18,-4,-10,-13,15,20,5,-7,-14,-13,-13,-16,-15,-15,-15,-15]
    },
    {
     "k": 4096,
     "n": 8192,
     "percent": [-15,-15,-12,-2,-9,-7,11,-10,54,20,-20,-2,-10,-11,32,25,11,-4,-6,2,1,-2,3,4,2,2]
    },
    {
     "k": 7168,
     "n": 8192,
     "percent": [-3,3,0,7,-4,-2,3,-5,0,-4,-10,-5,-14,-18,18,22,-7,-12,15,-16,-13,-15,-12,-6,-7,-8]
    },
    {
     "k": 8192,
     "n": 1280,
     "percent": [-16,-20,-14,-14,-15,-15,2,0,13,11,14,10,5,17,12,3,19,21,10,-3,12,0,20,2,-7,20]
    },
    {
     "k": 8192,
     "n": 2560,
     "percent": [-9,-7,-7,-3,-5,-5,11,7,10,12,10,2,8,11,3,-9,-14,9,5,-1,-7,11,5,9,0,6]
    },
    {
     "k": 8192,
     "n": 5120,
     "percent": [-7,-5,-5,-5,-6,-4,5,3,10,5,-1,-9,-14,13,-1,-6,-12,6,1,9,-1,6,4,3,1,2]
    },
    {
     "k": 8192,
     "n": 7168,
     "percent": [-4,-4,-3,6,0,1,0,1,0,-8,-17,23,5,4,57,34,15,-1,-7,3,-2,-6,-6,-4,-3,-4]
    },
    {
     "k": 8192,
     "n": 8192,
     "percent": [1,-3,-3,5,-2,-1,3,-6,-2,-5,-8,-3,-8,-12,24,20,6,3,18,1,5,2,2,7,6,4]
    },
    {
     "k": 8192,
     "n": 10240,
     "percent": [3,-3,3,5,-3,0,6,-3,18,28,-6,-11,-15,15,6,4,9,10,4,5,4,1,4,3,4,3]
    },
    {
     "k": 8192,
     "n": 14336,
     "percent": [-1,4,-1,1,1,2,-1,-6,-1,-11,-13,19,6,-5,24,12,3,-3,-9,-6,-2,-5,-5,-3,-1,-2]
    },
    {
     "k": 8192,
     "n": 28672,
     "percent": [2,0,1,1,1,2,1,-2,4,-9,-17,-8,43,3,24,9,2,-3,-7,-3,-4,-4,-4,-2,-2,-1]
    },
    {
     "k": 8192,
     "n": 57344,
     "percent": [3,1,1,3,4,4,3,-2,-1,-9,-17,-10,10,-12,0,-1,6,3,-3,0,0,-2,-1,1,2,3]
    },
    {
     "k": 14336,
     "n": 8192,
     "percent": [-1,0,0,4,3,3,-2,-5,-2,-8,-19,-10,-15,-18,38,21,-7,-13,17,-8,-1,-5,0,1,1,-4]
    },
    {
     "k": 28672,
     "n": 8192,
     "percent": [7,5,5,5,7,7,1,-3,-1,-7,-17,-11,-12,-19,66,15,0,-4,17,-1,7,4,4,4,5,2]
    }
   ]
  },
  "elementwise": {
   "norm": {
    "overhead": 0.00000208,
    "efficiency": 0.4392
   },
   "add": {
    "overhead": 8.095e-7,
    "efficiency": 1.072
   },
   "act": {
    "overhead": 0.00000191,
    "efficiency": 0.5896
   },
   "rope": {
    "overhead": 0.00000199,
    "efficiency": 0.5279
   },
   "emb": {
    "overhead": 0.000002158,
    "efficiency": 0.1928
   },
   "kv_save": {
    "overhead": 0.000004149,
    "efficiency": 0.7215
   }
  },
  "allReduce": [
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00001814,
    "rate": 293000000000
   },
   {
    "workers": 4,
    "perServer": 4,
    "overhead": 0.00002698,
    "rate": 360900000000
   },
   {
    "workers": 8,
    "perServer": 8,
    "overhead": 0.00002959,
    "rate": 345900000000
   },
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00007213,
    "rate": 27750000000
   },
   {
    "workers": 4,
    "perServer": 2,
    "overhead": 0.00006212,
    "rate": 30620000000
   },
   {
    "workers": 8,
    "perServer": 4,
    "overhead": 0.0002137,
    "rate": 102200000000
   },
   {
    "workers": 16,
    "perServer": 8,
    "overhead": 0.0002285,
    "rate": 77760000000
   }
  ],
  "sendRecv": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00001829,
    "rate": 36400000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.000007591,
    "rate": 361300000000
   }
  ],
  "unfitted": [
   "h100: decode attention and KV writes have the overhead and share of bandwidth measured on A30",
   "h100: prefill attention at 0.5 of the tensor peak (FlashAttention papers)",
   "h100: all-reduce across servers scaled from A100 by send/recv rate"
  ],
  "errors": {
   "products, profiled shapes": {
    "mape": 5.445,
    "p50": 2.958,
    "p90": 12.79,
    "n": 4176
   },
   "products, held out": {
    "mape": 9.372,
    "p50": 7.073,
    "p90": 19.8,
    "n": 4176
   },
   "sum of a layer's products, held out": {
    "mape": 6.568,
    "p50": 5.01,
    "p90": 13.71,
    "n": 1036
   },
   "norm": {
    "mape": 16.64,
    "p50": 16.02,
    "p90": 25.3,
    "n": 1044
   },
   "add": {
    "mape": 7.664,
    "p50": 5.641,
    "p90": 15.71,
    "n": 1044
   },
   "act": {
    "mape": 7.056,
    "p50": 3.334,
    "p90": 14.67,
    "n": 1044
   },
   "rope": {
    "mape": 9.326,
    "p50": 7.768,
    "p90": 19.16,
    "n": 1044
   },
   "emb": {
    "mape": 5.447,
    "p50": 3.384,
    "p90": 12.33,
    "n": 1044
   },
   "all_reduce 8 devices, 8 per server": {
    "mape": 5.438,
    "p50": 4.143,
    "p90": 10.31,
    "n": 994
   },
   "all_reduce 2 devices, 2 per server": {
    "mape": 11.76,
    "p50": 2.114,
    "p90": 46.83,
    "n": 994
   },
   "all_reduce 4 devices, 4 per server": {
    "mape": 7.007,
    "p50": 3.314,
    "p90": 28.27,
    "n": 994
   },
   "send_recv 2 devices, 1 per server": {
    "mape": 4.095,
    "p50": 1.486,
    "p90": 11.2,
    "n": 994
   },
   "send_recv 2 devices, 2 per server": {
    "mape": 2.614,
    "p50": 1.07,
    "p90": 8.59,
    "n": 994
   }
  },
  "attention": {
   "decode": {
    "overhead": 0.0000213,
    "efficiency": 0.799
   },
   "prefill": {
    "overhead": 0.0000534,
    "efficiency": 0.5,
    "kvEfficiency": 0.4893,
    "skipsMasked": true
   }
  }
 },
 {
  "device": "a30",
  "provenance": "fitted to 874 products of compute/a30/Qwen/Qwen-2-7B/mlp.csv of microsoft/vidur (76 medians faster than the peak dropped)",
  "gemm": {
   "overhead": 0.00003992,
   "efficiency": 0.683,
   "bandwidthEfficiency": 1.06,
   "fill": 0.000008507,
   "sharpness": 1.288
  },
  "residuals": {
   "knots": [1,8,16,32,48,64,96,128,160,192,256,320,384,448,512,640,768,896,1024,1280,1536,1792,2048,2560,3072,4096],
   "shapes": [
    {
     "k": 3584,
     "n": 3584,
     "percent": [-42,-41,-41,-37,-35,-30,-15,31,28,30,0,0,0,0,-3,-4,-3,-1,0,-2,-1,0,2,4,4,6]
    },
    {
     "k": 3584,
     "n": 4608,
     "percent": [-13,-30,-29,-31,-32,-33,-24,3,8,4,-8,8,2,-3,5,7,30,11,9,0,0,0,-2,0,-3,-1]
    },
    {
     "k": 3584,
     "n": 37888,
     "percent": [9,15,14,-1,-3,-4,-1,-4,-11,33,6,-7,-7,-14,-12,-3,-7,-7,-4,-5,-4,-4,-2,-2,-3,-2]
    },
    {
     "k": 18944,
     "n": 3584,
     "percent": [1,1,-1,3,-3,-7,19,11,41,18,1,-12,-26,-21,0,5,5,3,-1,-5,4,5,14,0,1,2]
    }
   ]
  },
  "elementwise": {
   "norm": {
    "overhead": 0.000003154,
    "efficiency": 0.3524
   },
   "add": {
    "overhead": 0.000002714,
    "efficiency": 1.121
   },
   "act": {
    "overhead": 0.00001343,
    "efficiency": 0.604
   },
   "rope": {
    "overhead": 0.000003556,
    "efficiency": 0.5288
   },
   "emb": {
    "overhead": 0.000005846,
    "efficiency": 0.1741
   },
   "kv_save": {
    "overhead": 0.000004149,
    "efficiency": 0.7215
   }
  },
  "allReduce": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00007213,
    "rate": 2959000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00004333,
    "rate": 56640000000
   },
   {
    "workers": 4,
    "perServer": 2,
    "overhead": 0.00006212,
    "rate": 3264000000
   },
   {
    "workers": 4,
    "perServer": 4,
    "overhead": 0.00004374,
    "rate": 57970000000
   },
   {
    "workers": 8,
    "perServer": 4,
    "overhead": 0.0002137,
    "rate": 10890000000
   },
   {
    "workers": 8,
    "perServer": 8,
    "overhead": 0.00004856,
    "rate": 51500000000
   },
   {
    "workers": 16,
    "perServer": 8,
    "overhead": 0.0002285,
    "rate": 8290000000
   }
  ],
  "sendRecv": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00002796,
    "rate": 3881000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00001386,
    "rate": 104100000000
   }
  ],
  "unfitted": [
   "a30: collectives scaled from A100 by link speed"
  ],
  "errors": {
   "products, profiled shapes": {
    "mape": 3.135,
    "p50": 1.736,
    "p90": 7.232,
    "n": 874
   },
   "norm": {
    "mape": 13.66,
    "p50": 9.748,
    "p90": 23.42,
    "n": 261
   },
   "add": {
    "mape": 12.34,
    "p50": 11.58,
    "p90": 25.03,
    "n": 261
   },
   "act": {
    "mape": 3.086,
    "p50": 1.228,
    "p90": 7.238,
    "n": 261
   },
   "rope": {
    "mape": 7.936,
    "p50": 5.019,
    "p90": 14.27,
    "n": 261
   },
   "emb": {
    "mape": 3.737,
    "p50": 1.792,
    "p90": 10.11,
    "n": 261
   },
   "decode attention, held out": {
    "mape": 7.374,
    "p50": 6.25,
    "p90": 13.04,
    "n": 1920
   },
   "prefill attention, held out": {
    "mape": 13.83,
    "p50": 7.059,
    "p90": 25.66,
    "n": 326
   },
   "prefill attention, chunks of 256 and more, held out": {
    "mape": 9.259,
    "p50": 5.327,
    "p90": 23.25,
    "n": 163
   },
   "kv_save": {
    "mape": 4.947,
    "p50": 2.576,
    "p90": 12.94,
    "n": 4492
   }
  },
  "attention": {
   "decode": {
    "overhead": 0.0000213,
    "efficiency": 0.799
   },
   "prefill": {
    "overhead": 0.0000534,
    "efficiency": 0.4071,
    "kvEfficiency": 0.4893,
    "skipsMasked": false
   }
  }
 },
 {
  "device": "a40",
  "provenance": "element-wise operators as reported from Vidur's A40 profiles, not refitted; products as on A100",
  "gemm": {
   "overhead": 0.000005116,
   "efficiency": 0.7451,
   "bandwidthEfficiency": 0.8852,
   "fill": 26.6,
   "sharpness": 1.547
  },
  "residuals": null,
  "allReduce": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00007213,
    "rate": 2959000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00004333,
    "rate": 31860000000
   },
   {
    "workers": 4,
    "perServer": 2,
    "overhead": 0.00006212,
    "rate": 3264000000
   },
   {
    "workers": 4,
    "perServer": 4,
    "overhead": 0.00004374,
    "rate": 32610000000
   },
   {
    "workers": 8,
    "perServer": 4,
    "overhead": 0.0002137,
    "rate": 10890000000
   },
   {
    "workers": 8,
    "perServer": 8,
    "overhead": 0.00004856,
    "rate": 28970000000
   },
   {
    "workers": 16,
    "perServer": 8,
    "overhead": 0.0002285,
    "rate": 8290000000
   }
  ],
  "sendRecv": [
   {
    "workers": 2,
    "perServer": 1,
    "overhead": 0.00002796,
    "rate": 3881000000
   },
   {
    "workers": 2,
    "perServer": 2,
    "overhead": 0.00001386,
    "rate": 58550000000
   }
  ],
  "elementwise": {
   "add": {
    "overhead": 7e-7,
    "efficiency": 0.86
   },
   "rope": {
    "overhead": 0.0000012,
    "efficiency": 0.79
   },
   "norm": {
    "overhead": 0.0000026,
    "efficiency": 0.61
   },
   "act": {
    "overhead": 0.0000015,
    "efficiency": 0.78
   },
   "emb": {
    "overhead": 0.000002,
    "efficiency": 0.51
   },
   "kv_save": {
    "overhead": 0.000004149,
    "efficiency": 0.7215
   }
  },
  "attention": {
   "decode": {
    "overhead": 0.0000213,
    "efficiency": 0.799
   },
   "prefill": {
    "overhead": 0.0000534,
    "efficiency": 0.4071,
    "kvEfficiency": 0.4893,
    "skipsMasked": false
   }
  },
  "unfitted": [
   "a40: products have the shares of peak fitted on A100",
   "a40: attention has the shares of peak fitted on A30",
   "a40: collectives scaled from A100 by link speed"
  ],
  "errors": {}
 }
];
